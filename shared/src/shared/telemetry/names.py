"""What spans are told of messages, by OpenTelemetry's names for messaging and RabbitMQ, and by our own for nodes."""

from aio_pika.abc import AbstractIncomingMessage
from opentelemetry.util.types import AttributeValue

from shared.contracts.bundles import Bundle
from shared.contracts.envelope import Identified, Message, NodeMessage

SYSTEM = {"messaging.system": "rabbitmq"}


def delivery_attributes(incoming: AbstractIncomingMessage, queue: str) -> dict[str, AttributeValue]:
    """Return what a span tells of a delivery."""
    name = f"{incoming.exchange}:{incoming.routing_key}:{queue}"
    return {
        **destination(name, "process"),
        "messaging.message.id": incoming.message_id or "",
        "messaging.rabbitmq.message.delivery_tag": incoming.delivery_tag or 0,
    }


def destination(name: str, operation: str) -> dict[str, AttributeValue]:
    """Return what a span tells of where messages go or come from, and of what is done to them."""
    return {**SYSTEM, "messaging.destination.name": name, "messaging.operation.name": operation}


def attributes_of(message: Identified) -> dict[str, AttributeValue]:
    """Return what a span tells of the run and node that a message is about, or of how many events it tells."""
    if isinstance(message, Bundle):
        return {"messaging.batch.message_count": message.count}
    if not isinstance(message, Message):
        return {}
    run: dict[str, AttributeValue] = {"weft.run.id": str(message.run_id)}
    if not isinstance(message, NodeMessage):
        return run
    return {
        **run,
        "weft.node.id": message.node_id,
        "weft.node.type": message.node_type,
        "weft.node.attempt": message.attempt,
    }
