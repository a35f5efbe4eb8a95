"""What a worker process hears: the jobs of its type, lane by lane, and which attempts nobody waits for any more."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import uuid4

from aio_pika.abc import AbstractIncomingMessage, AbstractQueue, AbstractRobustChannel, AbstractRobustConnection
from aio_pika.exceptions import AMQPError, ChannelClosed
from opentelemetry import trace
from pydantic import ValidationError
from structlog import get_logger

from shared import topology
from shared.contracts.commands import read_abandon
from shared.contracts.errors import unavailable
from shared.contracts.node_type import NodeType
from shared.contracts.run_options import Lane
from shared.messaging.batches import CANCEL_TIMEOUT
from shared.messaging.connection import brief_channel, silence_as_error
from shared.messaging.sending_time import sent_at
from shared.messaging.settling import Settling
from shared.telemetry.messages import taken
from shared.worker.backlog import Backlog
from shared.worker.jobs import JobRunner
from shared.worker.slots import share

PING_SECONDS = 3.0

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Delivery:
    """A job as it came, to be settled with others."""

    incoming: AbstractIncomingMessage
    settling: Settling

    @property
    def body(self) -> bytes:
        return self.incoming.body

    @property
    def message_id(self) -> str | None:
        return self.incoming.message_id

    def ack(self) -> Awaitable[None]:
        return self.settling.acknowledge(self.incoming)

    def reject(self) -> Awaitable[None]:
        return self.settling.reject(self.incoming)


class Subscriptions:
    """The consumers of a worker process, which come back by themselves after the connection was lost.

    No lane has more jobs in hand than it may have slots: with that, jobs of each lane are there when a slot is free.
    """

    def __init__(
        self, connection: AbstractRobustConnection, node_type: NodeType, runner: JobRunner, *, concurrency: int
    ) -> None:
        self._connection = connection
        self._node_type = node_type
        self._runner = runner
        self._concurrency = concurrency
        self._consumers: dict[str, AbstractQueue] = {}

    async def start(self, backlog: Backlog) -> Sequence[AbstractQueue]:
        """Begin to consume; return the queues. `backlog` is told whenever abandonments are heard, or are not any more.

        Raises UnavailableError `topology_missing`.
        """
        try:
            await self._hear_abandonments(backlog)
        except ChannelClosed as err:
            raise unavailable(
                "topology_missing",
                f"the broker lacks what the {self._node_type.name} worker listens to: {err}",
                where="WEFT_AMQP_URL",
                fix="declare the topology: weft setup",
            ) from err
        for lane in Lane:
            await self._take_jobs(lane)
        return list(self._consumers.values())

    async def is_connected(self) -> bool:
        """Tell whether the connection stands."""
        try:
            async with asyncio.timeout(PING_SECONDS), brief_channel(self._connection):
                return True
        except (AMQPError, OSError, RuntimeError):  # TimeoutError is an OSError
            return False

    async def stop(self) -> None:
        """Take no more jobs; those in hand can still be acknowledged."""
        for tag, queue in self._consumers.items():
            try:
                with silence_as_error():
                    async with asyncio.timeout(CANCEL_TIMEOUT):
                        await queue.cancel(tag)
            except (AMQPError, OSError, RuntimeError) as err:  # TimeoutError is an OSError
                log.info("consumer was gone already", reason=str(err) or type(err).__name__)

    async def _take_jobs(self, lane: Lane) -> None:
        queue, settling = self._node_type.job_queue(lane), Settling()

        async def receive(incoming: AbstractIncomingMessage) -> None:
            span = taken(incoming, queue)
            with trace.use_span(span):
                handling = self._runner.receive(_Delivery(incoming, settling), lane, sent_at(incoming))
            handling.add_done_callback(lambda _: span.end())

        channel = await self._channel(prefetch=share(lane, self._concurrency))
        await self._consume(await topology.check_queue(channel, queue), receive)

    async def _hear_abandonments(self, backlog: Backlog) -> None:
        async def receive(incoming: AbstractIncomingMessage) -> None:
            try:
                self._runner.abandon(read_abandon(incoming.body))
            except ValidationError as err:
                log.warning("unreadable abandonment", problems=err.error_count())

        name, channel = self._node_type.name, await self._channel(prefetch=0)
        queue = await channel.declare_queue(
            f"{name}_worker.control.{uuid4()}", exclusive=True, auto_delete=True, durable=False
        )
        await queue.bind(topology.CONTROL, name)
        await self._consume(queue, receive, no_ack=True)
        channel.close_callbacks.add(_calling(backlog.hears_nothing))
        channel.reopen_callbacks.add(_calling(backlog.hears_from_now_on))
        backlog.hears_from_now_on()

    async def _channel(self, *, prefetch: int) -> AbstractRobustChannel:
        channel = await self._connection.channel()
        assert isinstance(channel, AbstractRobustChannel)
        await channel.set_qos(prefetch_count=prefetch)
        return channel

    async def _consume(
        self,
        queue: AbstractQueue,
        receive: Callable[[AbstractIncomingMessage], Awaitable[None]],
        *,
        no_ack: bool = False,
    ) -> None:
        self._consumers[await queue.consume(receive, no_ack=no_ack)] = queue


def _calling(action: Callable[[], None]) -> Callable[..., None]:
    def callback(*_: object) -> None:
        action()

    return callback
