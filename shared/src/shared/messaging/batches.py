"""Consuming in batches: whatever has arrived is handled together, then acknowledged together.

An idle consumer handles a message the moment it comes; under load batches grow by themselves, up to the limit.
One for whose work nobody waits may linger for more.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import AMQPError
from prometheus_client import CollectorRegistry
from pydantic import ValidationError
from structlog import get_logger

from shared import topology
from shared.contracts.envelope import Identified
from shared.contracts.errors import UnavailableError
from shared.messaging.connection import silence_as_error
from shared.messaging.consumer_watch import Consumer, ConsumerWatch, count_lost
from shared.messaging.settling import Settling
from shared.telemetry.batches import BatchTelemetry

T = TypeVar("T", bound=Identified)

MAX_BATCH = 200
FIRST_PAUSE = 0.1  # seconds between attempts while something that is needed is away; doubles up to the last
LAST_PAUSE = 5.0
CANCEL_TIMEOUT = 3.0  # seconds; a broker that is away ends the consumer in its own way

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Linger:
    """How long a batch may wait for more, and how much is `enough`: then it does not wait any longer.

    That is counted in messages, or in what `size` finds in the body of each.
    """

    seconds: float
    enough: Callable[[], int] = lambda: MAX_BATCH
    size: Callable[[bytes], int] = lambda _: 1


@dataclass(frozen=True, slots=True)
class Delivery(Generic[T]):
    """A decoded message, and the delivery to settle once its effects are safe."""

    content: T
    incoming: AbstractIncomingMessage
    queue: str


class BatchConsumer(Generic[T]):
    """Hands batches from several queues to one handler, in the order of arrival.

    `readers` gives for each queue how to decode its messages; `name` is what metrics and traces call the consumer; it
    `is_source` if other messages follow from those that it handles, and may `linger` for more of them before each
    batch. The handler returns when all effects of the batch are safe; only then is the batch acknowledged.
    Guaranteed: a message that cannot be decoded, or that alone makes the handler fail, goes to its dead-letter queue
    and its neighbours do not; while the handler raises UnavailableError the batch is kept and tried again; nothing is
    acknowledged before its effect. A queue that was deleted is consumed again once it is there again, or `failure`
    raises; see `ConsumerWatch`.
    """

    def __init__(
        self,
        channel: AbstractChannel,
        readers: Mapping[str, Callable[[bytes], T]],
        handle: Callable[[Sequence[T]], Awaitable[None]],
        *,
        name: str = "batches",
        is_source: bool = False,
        linger: Linger | None = None,
        registry: CollectorRegistry | None = None,
        watch: Callable[[Sequence[Consumer]], ConsumerWatch] = ConsumerWatch,
    ) -> None:
        self._registry = registry
        self._telemetry = BatchTelemetry[T](name, self._registry, is_source=is_source)
        self._channel = channel
        self._readers = readers
        self._handle = handle
        self._linger = linger
        self._arrived: deque[tuple[str, AbstractIncomingMessage]] = deque()
        self._size = 0  # of what has arrived
        self._wanted = 1  # of that size it wakes the loop
        self._woken = asyncio.Event()
        self._consumers: dict[str, AbstractQueue] = {}
        self._settling = Settling()
        self._make_watch = watch
        self._watch: ConsumerWatch | None = None
        self._loop: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Begin to consume; raise UnavailableError if a queue is missing."""
        await self._channel.set_qos(prefetch_count=2 * MAX_BATCH)
        for name in self._readers:
            queue = await topology.check_queue(self._channel, name)
            tag = await queue.consume(self._receiver(name))
            self._consumers[tag] = queue
        self._watch = self._make_watch([(queue, tag) for tag, queue in self._consumers.items()])
        if self._registry:
            count_lost(self._watch, self._registry)
        self._loop = asyncio.create_task(self._run(), name="batches")

    async def stop(self) -> None:
        """Take no more messages, finish the batch in hand; what is left goes back to its queue."""
        for tag, queue in self._consumers.items():
            try:
                with silence_as_error():
                    async with asyncio.timeout(CANCEL_TIMEOUT):
                        await queue.cancel(tag)
            except (AMQPError, OSError, RuntimeError) as err:  # TimeoutError is an OSError
                log.info("consumer was gone already", reason=str(err) or type(err).__name__)
        self._stopping.set()
        self._woken.set()
        if self._loop:
            await self._loop

    async def is_alive(self) -> bool:
        """Tell whether messages can come and are handled."""
        if self._loop is None or self._loop.done() or self._channel.is_closed:
            return False
        return self._watch is not None and await self._watch.passes()

    async def failure(self) -> None:
        """Wait until no messages can come any more, or none are handled; raise the reason.

        Raises UnavailableError `consumer_lost`; the loop ends by itself only through a defect.
        """
        assert self._loop
        assert self._watch
        watching = asyncio.create_task(self._watch.run())
        try:
            ended, _ = await asyncio.wait([self._loop, watching], return_when=asyncio.FIRST_COMPLETED)
        finally:
            watching.cancel()
        for task in ended:
            task.result()

    def _receiver(self, queue: str) -> Callable[[AbstractIncomingMessage], Awaitable[None]]:
        async def receive(incoming: AbstractIncomingMessage) -> None:
            self._arrived.append((queue, incoming))
            self._size += self._size_of(incoming)
            if self._size >= self._wanted:
                self._woken.set()

        return receive

    async def _run(self) -> None:
        while (batch := await self._next_batch()) is not None:
            try:
                await self._handle_isolating(await self._decode(batch))
            except UnavailableError as err:
                log.warning("stopped with a batch in hand; it goes back to its queue", reason=str(err))

    async def _next_batch(self) -> list[tuple[str, AbstractIncomingMessage]] | None:
        """Wait for a message, then take along whatever else has arrived; None when stopping."""
        await self._wait_for(1)
        if self._linger:
            await self._wait_for(min(self._linger.enough(), MAX_BATCH), self._linger.seconds)
        if self._stopping.is_set():
            return None
        batch = [self._arrived.popleft() for _ in range(min(len(self._arrived), MAX_BATCH))]
        self._size -= sum(self._size_of(incoming) for _, incoming in batch)
        return batch

    def _size_of(self, incoming: AbstractIncomingMessage) -> int:
        return self._linger.size(incoming.body) if self._linger else 1

    async def _wait_for(self, size: int, seconds: float | None = None) -> None:
        """Return once so much has arrived, the time is over, or the consumer stops."""
        if self._size >= size or self._stopping.is_set():
            return
        self._wanted = size
        self._woken.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)

    async def _decode(self, batch: Sequence[tuple[str, AbstractIncomingMessage]]) -> list[Delivery[T]]:
        deliveries: list[Delivery[T]] = []
        for queue, incoming in batch:
            try:
                deliveries.append(Delivery(self._readers[queue](incoming.body), incoming, queue))
            except ValueError as err:  # ValidationError is one; its text would show what is in the message
                problems = err.error_count() if isinstance(err, ValidationError) else 1
                await self._dead_letter(incoming, f"cannot be read: {problems} fields do not fit")
        return deliveries

    async def _handle_isolating(self, deliveries: Sequence[Delivery[T]]) -> None:
        """Handle together; if that fails, one by one, so that only the message that fails is dead-lettered.

        Raises UnavailableError only when stopping.
        """
        if not deliveries:
            return
        try:
            with self._telemetry.handling(deliveries):
                await self._handle_patiently(deliveries)
        except UnavailableError:
            raise
        except Exception as err:
            if len(deliveries) == 1:
                log.exception("a message cannot be handled", message_id=deliveries[0].incoming.message_id)
                await self._dead_letter(deliveries[0].incoming, f"cannot be handled: {type(err).__name__}")
                return
            for delivery in deliveries:
                await self._handle_isolating([delivery])
        else:
            await self._settling.acknowledge_all([delivery.incoming for delivery in deliveries])

    async def _handle_patiently(self, deliveries: Sequence[Delivery[T]]) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                return await self._handle([delivery.content for delivery in deliveries])
            except UnavailableError as err:
                if self._stopping.is_set():
                    raise
                log.warning("batch waits", size=len(deliveries), reason=str(err), pause=pause)
                await self._pause(pause)
                pause = min(2 * pause, LAST_PAUSE)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _dead_letter(self, incoming: AbstractIncomingMessage, reason: str) -> None:
        log.error("dead-lettered", message_id=incoming.message_id, reason=reason)
        await self._settling.reject(incoming)
