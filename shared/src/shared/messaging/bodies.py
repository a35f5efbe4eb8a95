"""How FastStream's handlers get the bodies of messages."""

from faststream.rabbit import RabbitMessage


async def raw_body(message: RabbitMessage) -> bytes:
    """Leave a body undecoded: what cannot be read is then the handler's to dead-letter, and not lost before it."""
    return message.body
