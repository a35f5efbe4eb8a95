"""All events, in the order of one log on the broker that all who read it share: a stream.

Every event has a position in it that is the same for every reader, also after a restart of readers or broker. So what
a reader missed can be read again, and whether it missed anything is seen: positions have no gaps.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Self
from uuid import UUID

from aio_pika.abc import (
    AbstractIncomingMessage,
    AbstractRobustChannel,
    AbstractRobustConnection,
    AbstractRobustQueue,
)
from aio_pika.exceptions import AMQPError, ChannelClosed
from prometheus_client import CollectorRegistry
from structlog import get_logger

from shared.contracts.bundles import Bundle, unbundle
from shared.contracts.errors import unavailable
from shared.messaging.connection import silence_as_error
from shared.messaging.consumer_watch import Consumer, ConsumerWatch, count_lost
from shared.topology import LIVE_STREAM

PREFETCH = 2_000  # messages
ACK_EVERY = 500  # messages; for a stream this only asks for more
TAIL_SECONDS = 5.0  # in which a stream that is not empty gives its last events
CATCH_UP_SECONDS = 30.0  # in which what was asked for of the past is read
RETRY_SECONDS = 1.0
# The broker begins each segment of a stream with one record of its own, which takes a position and is told to nobody.
# Events are only ever lost in whole segments, which hold more than one: `STREAM_SEGMENT_BYTES`, `MAX_MESSAGE_BYTES`.
OWN_RECORDS = 1
PLACES = 1_024  # for events in a message
_OFFSET = "x-stream-offset"
_LONG_AGO = datetime.min.replace(tzinfo=UTC)

Watch = Callable[[Sequence[Consumer]], ConsumerWatch]
_WATCH: Watch = partial(ConsumerWatch, counted=False)

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StreamedEvent:
    """An event as the stream holds it; `message_id` is equal for every telling of the same fact.

    `position` is its place in its message, and `PLACES` times that of the message in the stream. `at` is when it was
    published, and `node_type` that of the node that it is about, where both are told.
    """

    position: int
    run_id: UUID
    kind: str
    message_id: str
    body: bytes
    node_type: str | None = None
    at: datetime | None = None


class EventFeed:
    """Reads the stream: first what it held when it was opened, then each event as it comes, in order, each once.

    `receive` gets the events, `on_gap` is called where some are missing: the stream keeps them for a while only.
    """

    def __init__(
        self,
        queue: AbstractRobustQueue,
        receive: Callable[[StreamedEvent], None],
        on_gap: Callable[[], None],
        *,
        tail: int | None,
        watch: Watch,
    ) -> None:
        self._queue = queue
        self._watch = watch([(queue, None)])
        self._receive, self._on_gap = receive, on_gap
        self._next: int | None = None  # the position that is expected; None before the first event
        self._last_id: str | None = None
        self._newest_at = _LONG_AGO
        self._target = -1 if tail is None else tail
        self._reached = asyncio.Event()
        self._reopened = asyncio.Event()

    @classmethod
    async def open(
        cls,
        connection: AbstractRobustConnection,
        receive: Callable[[StreamedEvent], None],
        on_gap: Callable[[], None],
        *,
        history: int,
        watch: Watch = _WATCH,
    ) -> Self:
        """Return the feed once up to `history` events of the past were received, and all since.

        Raises UnavailableError `topology_missing`.
        """
        channel = await connection.channel()
        assert isinstance(channel, AbstractRobustChannel)
        await channel.set_qos(prefetch_count=PREFETCH)
        queue = await _find_stream(channel)
        tail = await _tail(connection)
        feed = cls(queue, receive, on_gap, tail=tail, watch=watch)
        channel.reopen_callbacks.add(feed._note_return)
        await feed._consume("first" if tail is None else max(0, tail - history))
        if tail is not None:
            await feed._catch_up()
        return feed

    def count_lost(self, registry: CollectorRegistry) -> None:
        """Have a service's metrics say how often the stream gave nothing any more."""
        count_lost(self._watch, registry)

    async def run(self) -> None:
        """Read again from where reading stopped, whenever the connection came back; until cancelled.

        Raises UnavailableError `consumer_lost` where the stream gives nothing any more.
        """
        watching = asyncio.create_task(self._watch.run())
        returning = asyncio.create_task(self._return())
        try:
            ended, _ = await asyncio.wait([watching, returning], return_when=asyncio.FIRST_COMPLETED)
        finally:
            watching.cancel()
            returning.cancel()
        for task in ended:
            task.result()

    async def _return(self) -> None:
        while True:
            await self._reopened.wait()
            self._reopened.clear()
            try:
                # The last one once more: if another one is in its place, it is another stream.
                await self._consume("next" if self._next is None else self._next - 1)
            except (AMQPError, OSError, RuntimeError) as err:  # TimeoutError is an OSError
                log.info("the stream cannot be read yet", reason=str(err) or type(err).__name__)
                await asyncio.sleep(RETRY_SECONDS)
                self._reopened.set()

    def _note_return(self, *_: object) -> None:
        self._reopened.set()

    async def _consume(self, offset: int | str) -> None:
        # Not restored by aio-pika: it would read again from where the first reading began.
        with silence_as_error():
            await self._queue.consume(self._take, arguments={_OFFSET: offset}, robust=False)

    async def _catch_up(self) -> None:
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS):
                await self._reached.wait()
        except TimeoutError:
            log.warning("the past is still being read")

    async def _take(self, incoming: AbstractIncomingMessage) -> None:
        position = _position(incoming)
        if self._is_of_another_stream(position, incoming):
            log.warning("the stream was made anew", position=position, expected=self._next)
            self._on_gap()
            self._next = None
        if self._next is None or position >= self._next:
            if self._next is not None and position > self._next + OWN_RECORDS:
                self._on_gap()
            self._next = position + 1
            self._last_id = incoming.message_id
            self._newest_at = max(self._newest_at, incoming.timestamp or _LONG_AGO)
            self._hand_on(position, incoming)
        if position >= self._target:
            self._reached.set()
        if position % ACK_EVERY == 0:
            await incoming.ack(multiple=True)

    def _is_of_another_stream(self, position: int, incoming: AbstractIncomingMessage) -> bool:
        """Tell whether an event stands where another has stood: positions begin anew with the stream.

        Before the last one, it is told by its time: what was published after all that are known is none of them.
        """
        if self._next is None or position >= self._next:
            return False
        if position == self._next - 1:
            return incoming.message_id != self._last_id
        return (incoming.timestamp or _LONG_AGO) > self._newest_at

    def _hand_on(self, offset: int, incoming: AbstractIncomingMessage) -> None:
        if incoming.type == Bundle.kind_name():
            return self._hand_on_bundle(offset, incoming)
        try:
            run_id = UUID(incoming.correlation_id or "")
        except ValueError:
            log.warning("an event without a run", message_id=incoming.message_id)
            return None
        message_id, kind = incoming.message_id or str(offset), incoming.type or ""
        event = StreamedEvent(
            offset * PLACES,
            run_id,
            kind,
            message_id,
            incoming.body,
            node_type=_node_type(incoming.routing_key or "", kind),
            at=incoming.timestamp,
        )
        return self._receive(event)

    def _hand_on_bundle(self, offset: int, incoming: AbstractIncomingMessage) -> None:
        try:
            entries = unbundle(incoming.body)
        except ValueError:  # ValidationError is one
            log.warning("an unreadable bundle of events", message_id=incoming.message_id)
            return
        for place, (entry, body) in enumerate(entries, start=offset * PLACES):
            told = entry.run_id, entry.kind, entry.message_id, body, entry.node_type
            self._receive(StreamedEvent(place, *told, incoming.timestamp))


def _node_type(routing_key: str, kind: str) -> str | None:
    """Return what follows the kind in the routing key of an event about a node."""
    return routing_key.removeprefix(f"{kind}.") if routing_key.startswith(f"{kind}.") else None


async def _find_stream(channel: AbstractRobustChannel) -> AbstractRobustQueue:
    try:
        return await channel.declare_queue(LIVE_STREAM, passive=True)
    except ChannelClosed as err:
        raise unavailable(
            "topology_missing",
            f"the broker has no stream {LIVE_STREAM!r}",
            where="WEFT_AMQP_URL",
            fix="declare the topology: weft setup",
        ) from err


async def _tail(connection: AbstractRobustConnection) -> int | None:
    """Return the position of one of the last events, or None where there is none."""
    found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def look(incoming: AbstractIncomingMessage) -> None:
        if not found.done():
            found.set_result(_position(incoming))

    async with connection.channel() as channel:
        await channel.set_qos(prefetch_count=1)
        stream = await channel.declare_queue(LIVE_STREAM, passive=True)
        if not stream.declaration_result.message_count:
            return None
        await stream.consume(look, arguments={_OFFSET: "last"})
        try:
            async with asyncio.timeout(TAIL_SECONDS):
                return await found
        except TimeoutError:
            return None


def _position(incoming: AbstractIncomingMessage) -> int:
    position = incoming.headers[_OFFSET]
    assert isinstance(position, int)
    return position
