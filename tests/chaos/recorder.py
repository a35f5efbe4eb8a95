"""Writes down all that was told of the ends of runs, and looks at what is left in the queues."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from tests.chaos.waiting import eventually

from shared.contracts.events import RunFinished
from shared.topology import EVENTS, QUERY_QUEUES, QUEUES

DRAIN_SECONDS = 30.0


class Recorder:
    """Has a durable queue of its own, so that no event is missed while the broker or the tests are away."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._queue = f"recorder.{uuid4()}"
        self._ends: defaultdict[UUID, list[RunFinished]] = defaultdict(list)

    async def start(self) -> None:
        """Begin to record."""
        async with self.channel() as channel:
            queue = await channel.declare_queue(self._queue, durable=True, arguments={"x-queue-type": "quorum"})
            await queue.bind(EVENTS, RunFinished.kind_name())

    async def stop(self) -> None:
        """Remove the queue."""
        async with self.channel() as channel:
            await channel.queue_delete(self._queue)

    async def finals(self, run_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[RunFinished]]:
        """Return all that was told of the ends of runs, repetitions included."""
        await self._drain()
        return {run_id: self._ends[run_id] for run_id in run_ids}

    async def left_in_queues(self, dead_letters: Mapping[str, int]) -> list[str]:
        """Return in which queues messages are left that should not be; those under way have time to arrive."""
        expected = defaultdict(int, dead_letters)
        async with self.channel() as channel:
            counts: dict[str, int] = {}

            async def nothing_is_left() -> bool:
                counts.update({queue.name: await depth(channel, queue.name) for queue in QUEUES})
                return all(count == expected[name] for name, count in counts.items() if name not in QUERY_QUEUES)

            try:
                await eventually("the queues hold what they should", nothing_is_left, within=10)
            except AssertionError:
                wrong = {name: count for name, count in counts.items() if count != expected[name]}
                return [f"left in queues: {wrong}, expected {dict(dead_letters)}"]
        return []

    @asynccontextmanager
    async def channel(self) -> AsyncGenerator[AbstractChannel]:
        """Yield a channel on a connection of its own, which may be new after every fault."""
        connection = await aio_pika.connect(self._url, timeout=10)
        async with connection:
            yield await connection.channel()

    async def _drain(self) -> None:
        arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        async with self.channel() as channel:
            queue = await channel.declare_queue(self._queue, passive=True)
            waiting = queue.declaration_result.message_count or 0
            await queue.consume(arrived.put)
            async with asyncio.timeout(DRAIN_SECONDS):
                for _ in range(waiting):
                    delivery = await arrived.get()
                    event = RunFinished.model_validate_json(delivery.body)
                    self._ends[event.run_id].append(event)
                    await delivery.ack()


async def depth(channel: AbstractChannel, queue: str) -> int:
    """Return how many messages wait in a queue."""
    declared = await channel.declare_queue(queue, passive=True)
    return declared.declaration_result.message_count or 0
