"""The queues of the floor: publishing with confirms, consuming with acknowledgements of what has been handled."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, DeliveryMode
from pamqp.common import Arguments

from benchmarks.peers.driving import BROKER_URL

STARTS, JOBS, RESULTS, ENDS = "starts", "jobs", "results", "ends"
QUORUM: Arguments = {"x-queue-type": "quorum"}

Handle = Callable[[dict[str, Any]], Awaitable[None]]


class _Cumulative:
    """Acknowledges what was handled in one moment together, up to the first message that was not."""

    def __init__(self, channel: AbstractChannel) -> None:
        self._channel = channel
        self._handled: set[int] = set()
        self._up_to = 0
        self._writing: asyncio.Task[None] | None = None

    async def acknowledge(self, delivery: AbstractIncomingMessage) -> None:
        """Note a delivery that was handled; others of this moment may still follow."""
        assert delivery.delivery_tag is not None
        self._handled.add(delivery.delivery_tag)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        self._writing = None
        before = self._up_to
        while self._up_to + 1 in self._handled:
            self._up_to += 1
            self._handled.remove(self._up_to)
        if self._up_to > before:
            await (await self._channel.get_underlay_channel()).basic_ack(self._up_to, multiple=True)


class Broker:
    """A channel to publish on and one to consume from, on connections of their own; each queue has its own exchange.

    What is handled `together` is acknowledged together, else each message by itself.
    """

    def __init__(self, publishing: AbstractChannel, consuming: AbstractChannel, *, together: bool) -> None:
        self._publishing = publishing
        self._consuming = consuming
        # One for all queues: delivery tags are the channel's.
        self._acknowledge = _Cumulative(consuming).acknowledge if together else _acknowledge
        self._background: set[asyncio.Task[None]] = set()

    async def publish(self, queue: str, **body: object) -> None:
        """Publish a persistent message; return when the broker has confirmed it."""
        message = aio_pika.Message(
            json.dumps(body).encode(),
            delivery_mode=DeliveryMode.PERSISTENT,
            message_id=str(uuid4()),
            content_type="application/json",
        )
        exchange = await self._publishing.get_exchange(_name(queue), ensure=False)
        await exchange.publish(message, routing_key="")

    async def consume(self, queue: str, handle: Handle, *, prefetch: int) -> None:
        """Handle what comes, as many messages at a time as are prefetched; acknowledge what is handled."""

        async def take(delivery: AbstractIncomingMessage) -> None:
            await handle(json.loads(delivery.body))
            await self._acknowledge(delivery)

        async def receive(delivery: AbstractIncomingMessage) -> None:
            self._in_background(take(delivery))

        await self._consuming.set_qos(prefetch_count=prefetch)
        await (await self._consuming.get_queue(_name(queue))).consume(receive)

    async def declare(self) -> None:
        """Create what is not there yet."""
        for name in (STARTS, JOBS, RESULTS, ENDS):
            exchange = await self._publishing.declare_exchange(_name(name), "fanout", durable=True)
            queue = await self._publishing.declare_queue(_name(name), durable=True, arguments=QUORUM)
            await queue.bind(exchange)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


async def _acknowledge(delivery: AbstractIncomingMessage) -> None:
    await delivery.ack()


def _name(queue: str) -> str:
    return f"benchmark.bare.{queue}"


@asynccontextmanager
async def open_broker(*, together: bool = False) -> AsyncGenerator[Broker]:
    """Yield the broker, where all queues are."""
    url = os.environ[BROKER_URL]
    async with await aio_pika.connect(url) as publishing, await aio_pika.connect(url) as consuming:
        broker = Broker(await publishing.channel(), await consuming.channel(), together=together)
        await broker.declare()
        yield broker
