"""The queues of the floor: publishing with confirms, consuming with an acknowledgement once a message is handled."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, Arguments, DeliveryMode

from benchmarks.peers.driving import BROKER_URL

STARTS, JOBS, RESULTS, ENDS = (f"benchmark.bare.{name}" for name in ("starts", "jobs", "results", "ends"))
QUORUM: Arguments = {"x-queue-type": "quorum"}

Handle = Callable[[dict[str, Any]], Awaitable[None]]


class Broker:
    """A channel to publish on and one to consume from, on connections of their own."""

    def __init__(self, publishing: AbstractChannel, consuming: AbstractChannel) -> None:
        self._publishing = publishing
        self._consuming = consuming
        self._handling: set[asyncio.Task[None]] = set()

    async def publish(self, queue: str, **body: object) -> None:
        """Publish a persistent message; return when the broker has confirmed it."""
        message = aio_pika.Message(
            json.dumps(body).encode(),
            delivery_mode=DeliveryMode.PERSISTENT,
            message_id=str(uuid4()),
            content_type="application/json",
        )
        await self._publishing.default_exchange.publish(message, routing_key=queue)

    async def consume(self, queue: str, handle: Handle, *, prefetch: int) -> None:
        """Handle what comes, as many messages at a time as are prefetched; acknowledge each once it is handled."""

        async def take(delivery: AbstractIncomingMessage) -> None:
            await handle(json.loads(delivery.body))
            await delivery.ack()

        async def receive(delivery: AbstractIncomingMessage) -> None:
            handling = asyncio.create_task(take(delivery))
            self._handling.add(handling)
            handling.add_done_callback(self._handling.discard)

        await self._consuming.set_qos(prefetch_count=prefetch)
        declared = await self._consuming.declare_queue(queue, durable=True, arguments=QUORUM)
        await declared.consume(receive)


@asynccontextmanager
async def open_broker() -> AsyncGenerator[Broker]:
    """Yield the broker, where all queues are."""
    url = os.environ[BROKER_URL]
    async with await aio_pika.connect(url) as publishing, await aio_pika.connect(url) as consuming:
        channel = await publishing.channel()
        for queue in (STARTS, JOBS, RESULTS, ENDS):
            await channel.declare_queue(queue, durable=True, arguments=QUORUM)
        yield Broker(channel, await consuming.channel())
