"""How messages reach the broker and come from it: connections, confirmed publishes, batches."""
