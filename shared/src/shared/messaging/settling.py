"""Acknowledging and rejecting deliveries whose channel may be gone; together, where that is possible."""

import asyncio
from collections.abc import Awaitable, Sequence

from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import AMQPError
from structlog import get_logger

from shared.messaging.connection import silence_as_error

log = get_logger(__name__)


async def settle(settling: Awaitable[None], message_id: str | None) -> None:
    """Acknowledge or reject; a connection that was lost meanwhile is logged and does no harm.

    The effects of the message are safe by then: the broker delivers it again, and its repetition is found to be one.
    aio-pika raises RuntimeErrors for channels that are gone.
    """
    try:
        with silence_as_error():
            await settling
    except (AMQPError, OSError, RuntimeError) as err:
        log.info("not settled", message_id=message_id, reason=str(err) or type(err).__name__)


class Settling:
    """Settles the deliveries of one channel: those that are acknowledged in the same moment together.

    The broker keeps an acknowledgement in its log like a message; a cumulative one costs it no more than another.
    """

    def __init__(self) -> None:
        self._settled = _SettledTags()
        self._acknowledged: list[AbstractIncomingMessage] = []
        self._written = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None

    async def acknowledge(self, incoming: AbstractIncomingMessage) -> None:
        """Return once the acknowledgement is on its way."""
        self._acknowledged.append(incoming)
        written = self._written
        self._write_if_idle()
        await written.wait()

    async def acknowledge_all(self, batch: Sequence[AbstractIncomingMessage]) -> None:
        """Return once the acknowledgements are on their way; not to be called again before, nor beside the other."""
        for incoming, multiple in self._settled.plan(batch):
            await settle(incoming.ack(multiple=multiple), incoming.message_id)

    async def reject(self, incoming: AbstractIncomingMessage) -> None:
        """Have a delivery dead-lettered."""
        await settle(incoming.reject(requeue=False), incoming.message_id)
        # Only now: what is settled may be acknowledged together with what came after it.
        self._settled.add(incoming)

    def _write_if_idle(self) -> None:
        # One after the other: what a cumulative acknowledgement has overtaken cannot be acknowledged any more.
        if self._acknowledged and self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        together, self._acknowledged = self._acknowledged, []
        written, self._written = self._written, asyncio.Event()
        try:
            await self.acknowledge_all(together)
        finally:  # a channel that closes may cancel what waits for it
            written.set()
            self._writing = None
            self._write_if_idle()


class _SettledTags:
    """Knows per channel up to which delivery tag everything is settled, so that one ack can settle many."""

    def __init__(self) -> None:
        self._channel: object = None
        self._up_to = 0
        self._beyond: set[int] = set()

    def add(self, incoming: AbstractIncomingMessage) -> bool:
        """Note a settled message; tell whether it came over the channel that is open now."""
        channel = _open_channel(incoming)
        if channel is None:
            return False
        if channel is not self._channel:
            self._channel, self._up_to, self._beyond = channel, 0, set()
        assert incoming.delivery_tag is not None
        self._beyond.add(incoming.delivery_tag)
        while self._up_to + 1 in self._beyond:
            self._up_to += 1
            self._beyond.remove(self._up_to)
        return True

    def plan(self, batch: Sequence[AbstractIncomingMessage]) -> list[tuple[AbstractIncomingMessage, bool]]:
        """Return what to acknowledge: one cumulative ack where all before it is settled, else each by itself.

        What came over a channel that is gone is left out: the broker delivers it again.
        """
        current = [incoming for incoming in batch if self.add(incoming)]
        if not current:
            return []
        last = max(current, key=lambda incoming: incoming.delivery_tag or 0)
        return [(last, True)] if last.delivery_tag == self._up_to else [(incoming, False) for incoming in current]


def _open_channel(incoming: AbstractIncomingMessage) -> object:
    """Return the channel that a message came over, None if it has been closed since."""
    try:
        channel = incoming.channel
    except (AMQPError, RuntimeError):
        return None
    return None if channel.is_closed else channel
