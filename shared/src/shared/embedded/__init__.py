"""The local stack: a private PostgreSQL, a private RabbitMQ and a folder of assets, run as child processes."""
