"""Where the local stack's RabbitMQ comes from: installed, installed now, or a container."""

from pathlib import Path

from shared.contracts.errors import unavailable
from shared.embedded.rabbitmq_container import RabbitMQContainer, docker_answers
from shared.embedded.rabbitmq_install import find_or_install
from shared.embedded.rabbitmq_node import RabbitMQNode


def rabbitmq_in(folder: Path) -> RabbitMQNode | RabbitMQContainer:
    """Return the RabbitMQ to run in that folder; it is not started yet.

    Raises UnavailableError `rabbitmq_not_found` where there is none, none can be installed, and no Docker answers.
    """
    installed = find_or_install()
    if installed is not None:
        return RabbitMQNode(folder, installed)
    if docker_answers():
        return RabbitMQContainer(folder)
    raise unavailable(
        "rabbitmq_not_found",
        "no rabbitmq-server is installed, it could not be installed here, and no Docker engine answers",
        where="PATH",
        fix="install rabbitmq-server (Debian, Ubuntu: apt-get install; macOS: brew install rabbitmq), start Docker, "
        "or set WEFT_AMQP_URL to a RabbitMQ of yours",
    )
