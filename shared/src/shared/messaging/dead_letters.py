"""Dead-letter queues: read without taking anything out, and letters removed from them one by one.

What is read is in this reader's hands until it leaves, and goes back then, in its order: so there must be one reader of
a queue at a time, since what one has in hand another does not see.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, cast
from uuid import UUID

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage, AbstractQueue, DeliveryMode
from aio_pika.exceptions import AMQPError
from pamqp.commands import Basic
from pydantic import Field, ValidationError

from shared import topology
from shared.contracts.base import Contract
from shared.contracts.bundles import Bundle, unbundle
from shared.contracts.cursors import MAX_POSITION
from shared.contracts.node_types import WORKER_TYPES
from shared.messaging.connection import CONNECT_TIMEOUT, silence_as_error

MAX_READ = 20_000  # letters of one queue; those behind them are seen when these are gone
BACK_SECONDS, BACK_TRIES = 0.02, 50  # until letters that were looked at are back in their queue
SILENCE_SECONDS = 5.0  # after which no more letters, and no answer of the broker, are waited for
DEAD_QUEUES = tuple(sorted({queue.dead_letter_queue for queue in topology.QUEUES if queue.dead_letter_queue}))
JOB_TYPES: Mapping[str, str] = {f"dead.{node_type.queue}": node_type.name for node_type in WORKER_TYPES}

# What the broker adds to what it moves; with it, a letter that dies again would be taken for one that goes in circles.
_HEADERS_OF_DEATH = frozenset(
    {
        *("x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason"),
        *("x-last-death-exchange", "x-last-death-queue", "x-last-death-reason"),
        *("x-delivery-count", "x-acquired-count"),
    }
)
_EPOCH = datetime.fromtimestamp(0, UTC)
_ID_LENGTH = 16


class _Head(Contract):
    """What every message of Weft says, as far as it is about a node."""

    run_id: UUID
    node_id: str | None = None
    attempt: int | None = Field(default=None, ge=1, le=MAX_POSITION)


@dataclass(frozen=True, slots=True)
class Death:
    """How a message died last: in which queue, why, and where it had been published to."""

    queue: str | None = None
    reason: str = "unknown"
    exchange: str = ""
    routing_key: str = ""
    at: datetime = _EPOCH
    count: int = 1


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter in hand: a message of a run, or a bundle, which tells of the runs `told_of`.

    What cannot be read has neither. `node_type` is set for jobs only.
    """

    id: str
    queue: str
    tag: int
    kind: str | None
    content_type: str | None
    message_id: str | None
    run_id: UUID | None
    told_of: tuple[UUID, ...]
    node_id: str | None
    attempt: int | None
    death: Death
    headers: Mapping[str, Any]
    body: bytes

    @property
    def node_type(self) -> str | None:
        """The type of the job; None where the letter is none."""
        return JOB_TYPES.get(self.queue)

    def properties(self, *, app_id: str) -> Basic.Properties:
        """Return the properties of the message as they were before it died, persistent."""
        return Basic.Properties(
            headers={name: value for name, value in self.headers.items() if name not in _HEADERS_OF_DEATH},
            message_id=self.message_id or self.id,
            correlation_id=str(self.run_id) if self.run_id else None,
            message_type=self.kind,
            content_type=self.content_type,
            timestamp=datetime.now(UTC),
            app_id=app_id,
            delivery_mode=DeliveryMode.PERSISTENT,
        )


class DeadQueue:
    """A dead-letter queue on a channel of its own."""

    def __init__(self, queue: AbstractQueue, count: int) -> None:
        self._queue = queue
        self._expected = min(count, MAX_READ)
        self._in_hand = 0

    @property
    def in_hand(self) -> int:
        """How many letters were read and not removed."""
        return self._in_hand

    async def read(self, visit: Callable[[Letter], None]) -> None:
        """Show every letter to `visit`, the first that died first; they stay in hand until the queue is left."""
        if not self._expected:
            return
        came, count = asyncio.Event(), 0

        async def take(incoming: AbstractIncomingMessage) -> None:
            nonlocal count
            count += 1
            visit(_letter(self._queue.name, incoming))
            came.set()

        async with asyncio.timeout(SILENCE_SECONDS):
            await self._queue.channel.set_qos(prefetch_count=MAX_READ)
            tag = await self._queue.consume(take)
        with suppress(TimeoutError):  # somebody else may have the others in hand
            while count < self._expected:
                came.clear()
                async with asyncio.timeout(SILENCE_SECONDS):
                    await came.wait()
        async with asyncio.timeout(SILENCE_SECONDS):
            await self._queue.cancel(tag)
        self._in_hand += count

    async def remove(self, letter: Letter) -> None:
        """Have the broker forget a letter that was read on this channel."""
        channel = await self._queue.channel.get_underlay_channel()
        await channel.basic_ack(letter.tag)
        self._in_hand -= 1


@asynccontextmanager
async def open_dead_queue(url: str, name: str) -> AsyncGenerator[DeadQueue]:
    """Yield a dead-letter queue; on leaving, what was not removed goes back.

    On a connection that does not come back by itself: letters in hand are told apart by numbers that a new one gives to
    others. Raises UnavailableError `topology_missing`, or `broker_unreachable`.
    """
    try:
        with silence_as_error():
            connection = await aio_pika.connect(
                url, timeout=CONNECT_TIMEOUT, client_properties={"connection_name": f"reader of {name}"}
            )
            async with connection:
                async with connection.channel() as channel:
                    async with asyncio.timeout(SILENCE_SECONDS):
                        queue = await topology.check_queue(channel, name)
                    opened = DeadQueue(queue, queue.declaration_result.message_count or 0)
                    yield opened
                await _wait_until_back(connection, name, opened.in_hand)
    except (AMQPError, OSError, RuntimeError) as err:  # TimeoutError is an OSError
        raise topology.unreadable(name, err) from err


async def _wait_until_back(connection: AbstractConnection, name: str, count: int) -> None:
    """Return when so many letters are in a queue again: who read it at once would find fewer than there are."""
    async with connection.channel() as channel:
        for _ in range(BACK_TRIES):
            queue = await topology.check_queue(channel, name)
            if (queue.declaration_result.message_count or 0) >= count:
                return
            await asyncio.sleep(BACK_SECONDS)


def _letter(queue: str, incoming: AbstractIncomingMessage) -> Letter:
    is_bundle = incoming.content_type == Bundle.content_type
    death, head = _death(incoming.headers), None if is_bundle else _head(incoming.body)
    assert incoming.delivery_tag is not None
    identity = incoming.message_id or sha256(incoming.body).hexdigest()
    return Letter(
        id=sha256(f"{queue}\0{identity}\0{death.at.isoformat()}".encode()).hexdigest()[:_ID_LENGTH],
        queue=queue,
        tag=incoming.delivery_tag,
        kind=incoming.type,
        content_type=incoming.content_type,
        message_id=incoming.message_id,
        run_id=head.run_id if head else None,
        told_of=_told_of(incoming.body) if is_bundle else (),
        node_id=head.node_id if head else None,
        attempt=head.attempt if head else None,
        death=death,
        headers=incoming.headers,
        body=incoming.body,
    )


def _head(body: bytes) -> _Head | None:
    try:
        return _Head.model_validate_json(body)
    except ValidationError:
        return None


def _told_of(bundle: bytes) -> tuple[UUID, ...]:
    try:
        return tuple(dict.fromkeys(entry.run_id for entry, _ in unbundle(bundle)))
    except ValueError:
        return ()


def _death(headers: Mapping[str, Any]) -> Death:
    """Return the latest death; the broker lists it first, and each queue and reason once."""
    deaths = headers.get("x-death")
    if not isinstance(deaths, list) or not deaths:
        return Death()
    told = cast("list[dict[str, Any]]", deaths)
    latest = told[0]
    keys = cast("list[object]", latest.get("routing-keys") or [""])
    at = latest.get("time")
    return Death(
        queue=latest.get("queue"),
        reason=str(latest.get("reason", "unknown")),
        exchange=str(latest.get("exchange", "")),
        routing_key=str(keys[0]),
        at=at.astimezone(UTC) if isinstance(at, datetime) else _EPOCH,
        count=sum(int(death.get("count", 1)) for death in told),
    )
