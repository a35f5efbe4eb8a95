"""Acknowledging and rejecting deliveries whose channel may be gone."""

from collections.abc import Awaitable

from aio_pika.exceptions import AMQPError
from structlog import get_logger

log = get_logger(__name__)


async def settle(settling: Awaitable[None], message_id: str | None) -> None:
    """Acknowledge or reject; a connection that was lost meanwhile is logged and does no harm.

    The effects of the message are safe by then: the broker delivers it again, and its repetition is found to be one.
    aio-pika raises RuntimeErrors for channels that are gone.
    """
    try:
        await settling
    except (AMQPError, OSError, RuntimeError) as err:
        log.info("not settled", message_id=message_id, reason=str(err) or type(err).__name__)
