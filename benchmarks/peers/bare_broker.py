"""The queues of the floor: publishing with confirms, consuming with an acknowledgement once a message is handled."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, DeliveryMode
from pamqp.common import Arguments

from benchmarks.peers.driving import BROKER_URL

WITH_EVENTS = "BENCH_EVENTS"  # the variable that says that everything is told to those who listen, as in Weft
STARTS, JOBS, RESULTS, ENDS, EVENTS = "starts", "jobs", "results", "ends", "events"
QUORUM: Arguments = {"x-queue-type": "quorum"}

Handle = Callable[[dict[str, Any]], Awaitable[None]]


class Broker:
    """A channel to publish on and one to consume from, on connections of their own.

    Each queue has an exchange of its name; what goes to results and ends goes to the events as well, if there are any.
    """

    def __init__(self, publishing: AbstractChannel, consuming: AbstractChannel, *, with_events: bool) -> None:
        self._publishing = publishing
        self._consuming = consuming
        self._with_events = with_events
        self._background: set[asyncio.Task[None]] = set()

    async def publish(self, queue: str, **body: object) -> None:
        """Publish a persistent message; return when the broker has confirmed it."""
        message = aio_pika.Message(
            json.dumps(body).encode(),
            delivery_mode=DeliveryMode.PERSISTENT,
            message_id=str(uuid4()),
            content_type="application/json",
        )
        exchange = await self._publishing.get_exchange(self._name(queue), ensure=False)
        await exchange.publish(message, routing_key="")

    def tell(self, kind: str, run: str, **more: object) -> None:
        """Publish an event, if there are any, without waiting for its confirm."""
        if self._with_events:
            body = {"kind": kind, "run": run, "at": datetime.now(UTC).isoformat(), **more}
            self._in_background(self.publish(EVENTS, **body))

    async def consume(self, queue: str, handle: Handle, *, prefetch: int) -> None:
        """Handle what comes, as many messages at a time as are prefetched; acknowledge each once it is handled."""

        async def take(delivery: AbstractIncomingMessage) -> None:
            await handle(json.loads(delivery.body))
            await delivery.ack()

        async def receive(delivery: AbstractIncomingMessage) -> None:
            self._in_background(take(delivery))

        await self._consuming.set_qos(prefetch_count=prefetch)
        await (await self._consuming.get_queue(self._name(queue))).consume(receive)

    async def declare(self) -> None:
        """Create what is not there yet."""
        names = (STARTS, JOBS, RESULTS, ENDS, *([EVENTS] if self._with_events else []))
        for name in names:
            exchange = await self._publishing.declare_exchange(self._name(name), "fanout", durable=True)
            queue = await self._publishing.declare_queue(self._name(name), durable=True, arguments=QUORUM)
            await queue.bind(exchange)
        if self._with_events:
            events = await self._publishing.get_queue(self._name(EVENTS))
            for name in (RESULTS, ENDS):
                await events.bind(self._name(name))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _name(self, queue: str) -> str:
        return f"benchmark.{'told' if self._with_events else 'bare'}.{queue}"


@asynccontextmanager
async def open_broker() -> AsyncGenerator[Broker]:
    """Yield the broker, where all queues are."""
    url = os.environ[BROKER_URL]
    async with await aio_pika.connect(url) as publishing, await aio_pika.connect(url) as consuming:
        broker = Broker(await publishing.channel(), await consuming.channel(), with_events=WITH_EVENTS in os.environ)
        await broker.declare()
        yield broker
