"""The queues of the floor: publishing with confirms, consuming with an acknowledgement once a message is handled."""

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


class Broker:
    """A channel to publish on and one to consume from, on connections of their own; each queue has its own exchange."""

    def __init__(self, publishing: AbstractChannel, consuming: AbstractChannel) -> None:
        self._publishing = publishing
        self._consuming = consuming
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
        """Handle what comes, as many messages at a time as are prefetched; acknowledge each once it is handled."""

        async def take(delivery: AbstractIncomingMessage) -> None:
            await handle(json.loads(delivery.body))
            await delivery.ack()

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


def _name(queue: str) -> str:
    return f"benchmark.bare.{queue}"


@asynccontextmanager
async def open_broker() -> AsyncGenerator[Broker]:
    """Yield the broker, where all queues are."""
    url = os.environ[BROKER_URL]
    async with await aio_pika.connect(url) as publishing, await aio_pika.connect(url) as consuming:
        broker = Broker(await publishing.channel(), await consuming.channel())
        await broker.declare()
        yield broker
