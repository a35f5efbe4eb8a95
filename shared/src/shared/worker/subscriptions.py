"""What a worker process hears: the jobs of its type, lane by lane, and which attempts nobody waits for any more."""

import asyncio
from collections.abc import Callable, Sequence
from uuid import uuid4

from aio_pika.abc import AbstractQueue, AbstractRobustChannel
from aio_pika.exceptions import AMQPError, ChannelClosed
from faststream import AckPolicy
from faststream.rabbit import Channel, ExchangeType, RabbitBroker, RabbitExchange, RabbitMessage, RabbitQueue
from opentelemetry import trace
from pydantic import ValidationError
from structlog import get_logger

from shared import topology
from shared.contracts.commands import read_abandon
from shared.contracts.errors import unavailable
from shared.contracts.node_type import NodeType
from shared.contracts.run_options import Lane
from shared.messaging.batches import CANCEL_TIMEOUT
from shared.messaging.bodies import raw_body
from shared.messaging.connection import RECONNECT_SECONDS
from shared.messaging.sending_time import sent_at
from shared.telemetry.messages import taken
from shared.worker.jobs import JobRunner
from shared.worker.slots import share

log = get_logger(__name__)


class Subscriptions:
    """The consumers of a worker process, which come back by themselves after the connection was lost.

    No lane has more jobs in hand than it may have slots: with that, jobs of each lane are there when a slot is free.
    """

    def __init__(self, url: str, node_type: NodeType, runner: JobRunner, *, concurrency: int) -> None:
        self._node_type = node_type
        self._runner = runner
        self._queues: list[RabbitQueue] = []
        self._broker = RabbitBroker(url, reconnect_interval=RECONNECT_SECONDS, logger=None)
        self._hear_abandonments()
        for lane in Lane:
            self._take_jobs(lane, prefetch=share(lane, concurrency))

    async def start(self, on_hearing: Callable[[], None]) -> Sequence[AbstractQueue]:
        """Begin to consume; return the queues. `on_hearing` is called whenever abandonments are heard from then on.

        Raises UnavailableError `topology_missing`.
        """
        try:
            await self._broker.start()
            queues = [await self._broker.declare_queue(queue) for queue in self._queues]
        except ChannelClosed as err:
            raise unavailable(
                "topology_missing",
                f"the broker lacks what the {self._node_type.name} worker listens to: {err}",
                where="WEFT_AMQP_URL",
                fix="declare the topology: weft setup",
            ) from err
        _call_now_and_whenever_reopened(queues[0], on_hearing)
        return queues

    async def is_connected(self) -> bool:
        """Tell whether the connection stands."""
        return await self._broker.ping(timeout=3)

    async def stop(self) -> None:
        """Take no more jobs; those in hand can still be acknowledged."""
        for subscriber in self._broker.subscribers:
            try:
                async with asyncio.timeout(CANCEL_TIMEOUT):
                    await subscriber.stop()
            except (AMQPError, OSError, RuntimeError) as err:  # TimeoutError is an OSError
                log.info("consumer was gone already", reason=str(err) or type(err).__name__)

    async def close(self) -> None:
        """Close the connection: what was not acknowledged goes back to its queue."""
        await self._broker.stop()

    def _take_jobs(self, lane: Lane, *, prefetch: int) -> None:
        async def receive(delivery: RabbitMessage) -> None:
            # Not waited for here: FastStream waits for its handlers before it stops to take messages, and those that
            # come meanwhile would be given back unread, which the broker counts as if they had killed a worker.
            span = taken(delivery.raw_message, queue.name)
            with trace.use_span(span):
                handling = self._runner.receive(delivery, lane, sent_at(delivery.raw_message))
            handling.add_done_callback(lambda _: span.end())

        queue = RabbitQueue(self._node_type.job_queue(lane), declare=False)
        self._queues.append(queue)
        subscriber = self._broker.subscriber(
            queue,
            channel=Channel(prefetch_count=prefetch),
            ack_policy=AckPolicy.MANUAL,
            decoder=raw_body,
            no_reply=True,
        )
        subscriber(receive)

    def _hear_abandonments(self) -> None:
        async def receive(delivery: RabbitMessage) -> None:
            try:
                self._runner.abandon(read_abandon(delivery.body))
            except ValidationError as err:
                log.warning("unreadable abandonment", problems=err.error_count())

        name = self._node_type.name
        queue = RabbitQueue(
            f"{name}_worker.control.{uuid4()}", exclusive=True, auto_delete=True, durable=False, routing_key=name
        )
        self._queues.append(queue)
        subscriber = self._broker.subscriber(
            queue,
            RabbitExchange(topology.CONTROL, type=ExchangeType.DIRECT, declare=False),
            ack_policy=AckPolicy.ACK_FIRST,
            decoder=raw_body,
            no_reply=True,
        )
        subscriber(receive)


def _call_now_and_whenever_reopened(queue: AbstractQueue, action: Callable[[], None]) -> None:
    def on_reopening(*_: object) -> None:
        action()

    assert isinstance(queue.channel, AbstractRobustChannel)
    queue.channel.reopen_callbacks.add(on_reopening)
    action()
