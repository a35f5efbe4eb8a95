"""When a message was sent.

The property that AMQP has for it counts whole seconds, which is longer than most of what is measured takes. So the time
is in a header as well, by the name that RabbitMQ's own timestamp interceptor has for it.
"""

from datetime import UTC, datetime

from aio_pika.abc import AbstractIncomingMessage

HEADER = "timestamp_in_ms"


def in_milliseconds(moment: datetime) -> int:
    """Return what the header says of a moment."""
    return round(moment.timestamp() * 1000)


def sent_at(incoming: AbstractIncomingMessage) -> datetime | None:
    """Return when a message was sent, by the clock of who sent it; None if it does not say."""
    milliseconds = incoming.headers.get(HEADER)
    if isinstance(milliseconds, int) and 0 < milliseconds < 2**47:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    return incoming.timestamp
