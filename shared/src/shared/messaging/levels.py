"""How full the queues are, and whether the broker has them as the topology says.

What waits and who consumes is asked by AMQP, which is exact and needs no plugin; the rest by the management API where
there is one, whose word may be some seconds old. Nothing is taken out of any queue.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError
from structlog import get_logger

from shared import topology
from shared.contracts.errors import Problem, UnavailableError
from shared.contracts.node_types import WORKER_TYPES
from shared.contracts.queues import LevelSource, MessageRates, QueueLevel
from shared.contracts.run_options import Lane
from shared.messaging.connection import connect, silence_as_error
from shared.messaging.management import Managed, ManagedQueue, Management
from shared.topology import Queue

CONFIRM_SECONDS = 1.0  # a broker without an alarm confirms within milliseconds
CONNECT_SECONDS = 3.0
READ_SECONDS = 10.0  # for all queues
_SET_UP = "run: weft setup"
_OWN_PREFIXES = tuple({f"{queue.name.partition('.')[0]}." for queue in topology.QUEUES})

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Levels:
    """All queues of the topology, and what is wrong with the broker as a whole."""

    source: LevelSource
    queues: tuple[QueueLevel, ...]
    warnings: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class LevelReader:
    """Looks at the queues, over a connection for that, with the management API if there is one."""

    url: str
    management: Management | None = None

    async def read(self) -> Levels:
        """Return the levels now; raise UnavailableError `broker_unreachable`."""
        managed, failure = await self._managed()
        async with connect(self.url, name="levels", patience=CONNECT_SECONDS) as connection:
            try:
                with silence_as_error():
                    async with asyncio.timeout(READ_SECONDS):
                        counted = await _counted(connection)
                        blocked = _has_alarm(managed) if managed else await _is_blocked(connection)
            except (AMQPError, OSError, RuntimeError) as err:  # TimeoutError is an OSError
                raise topology.unreadable("queues", err) from err
        warnings = [failure] if failure else []
        if blocked:
            warnings.append(_blocked(blocked))
        if managed is None:
            return Levels(LevelSource.AMQP, counted, tuple(warnings))
        warnings += _unknown(managed.queues)
        return Levels(LevelSource.MANAGEMENT, tuple(_completed(counted, managed)), tuple(warnings))

    async def _managed(self) -> tuple[Managed | None, Problem | None]:
        if self.management is None:
            return None, None
        try:
            return await self.management.read(), None
        except UnavailableError as err:
            return None, err.problems[0]


async def _counted(connection: AbstractConnection) -> tuple[QueueLevel, ...]:
    dead = {queue.dead_letter_queue for queue in topology.QUEUES}
    counted: list[QueueLevel] = []
    for queue in topology.QUEUES:
        level = QueueLevel(
            name=queue.name, node_type=_NODE_TYPES.get(queue.name), holds_dead_letters=queue.name in dead
        )
        counts = await _counts(connection, queue.name)
        warnings = () if counts["exists"] else (_missing(queue.name),)
        counted.append(level.model_copy(update={**counts, "warnings": warnings}))
    return tuple(counted)


async def _counts(connection: AbstractConnection, name: str) -> Mapping[str, object]:
    # A channel for each: the broker closes the one on which a missing queue was asked for.
    async with connection.channel() as channel:
        try:
            found = (await topology.check_queue(channel, name)).declaration_result
        except UnavailableError:
            return {"exists": False}
    return {"exists": True, "ready": found.message_count, "consumers": found.consumer_count}


async def _is_blocked(connection: AbstractConnection) -> str | None:
    """Return what speaks for an alarm: the broker still takes the first message of a connection, and then no more.

    What is published reaches no queue.
    """
    channel = await connection.channel(publisher_confirms=True)
    exchange = await channel.get_exchange(topology.CONTROL, ensure=False)
    probe = aio_pika.Message(b"", delivery_mode=aio_pika.DeliveryMode.NOT_PERSISTENT)
    try:
        async with asyncio.timeout(CONFIRM_SECONDS):
            for _ in range(2):
                await exchange.publish(probe, "nobody", mandatory=False)
    except TimeoutError:
        return f"it did not confirm a message within {CONFIRM_SECONDS:.0f} s"
    return None


def _has_alarm(managed: Managed) -> str | None:
    alarms = [
        f"{node.name} is short of {what}"
        for node in managed.nodes
        for what, has_alarm in (("memory", node.mem_alarm), ("disk space", node.disk_free_alarm))
        if has_alarm
    ]
    return "; ".join(alarms) or None


def _completed(counted: Sequence[QueueLevel], managed: Managed) -> Iterator[QueueLevel]:
    """Yield the levels with what the management API knows besides, and where the broker differs from the topology."""
    by_name = {queue.name: queue for queue in managed.queues}
    bindings = {(item.destination, item.source, item.routing_key) for item in managed.bindings if item.is_of_queue}
    for level, queue in zip(counted, topology.QUEUES, strict=True):
        known = by_name.get(level.name)
        if known is None or not level.exists:
            yield level
            continue
        differences = tuple(_differences(queue, known, bindings))
        rates = MessageRates(
            published=known.message_stats.publish_details.rate,
            delivered=known.message_stats.deliver_get_details.rate,
            acknowledged=known.message_stats.ack_details.rate,
        )
        more = {"unacked": known.messages_unacknowledged, "rates": rates}
        yield level.model_copy(update={**more, "warnings": (*level.warnings, *differences)})


def _differences(queue: Queue, known: ManagedQueue, bindings: set[tuple[str, str, str]]) -> Iterator[Problem]:
    if dict(queue.arguments) != known.arguments:
        names = sorted(
            name
            for name in queue.arguments.keys() | known.arguments.keys()
            if queue.arguments.get(name) != known.arguments.get(name)
        )
        yield Problem(
            code="queue_differs",
            message=f"the queue {queue.name} was declared with other arguments: {', '.join(names)}",
            where=queue.name,
            fix="when it is empty, delete it and run: weft setup",
        )
    for binding in queue.bindings:
        if (queue.name, binding.exchange, binding.routing_key) not in bindings:
            yield Problem(
                code="binding_missing",
                message=f"the queue {queue.name} is not bound to {binding.exchange} with {binding.routing_key}",
                where=queue.name,
                fix=_SET_UP,
            )


def _unknown(queues: Sequence[ManagedQueue]) -> Iterator[Problem]:
    known = {queue.name for queue in (*topology.QUEUES, topology.STREAM)}
    for queue in queues:
        is_own = queue.name.startswith(_OWN_PREFIXES) and not (queue.exclusive or queue.auto_delete)
        if is_own and queue.name not in known:
            yield Problem(
                code="queue_unknown",
                message=f"the queue {queue.name} is named like one of Weft's, and is none",
                where=queue.name,
                fix="if it is one of an earlier version, or of a node type that is gone, empty and delete it",
            )


def _missing(name: str) -> Problem:
    return Problem(code="queue_missing", message=f"the broker has no queue {name}", where=name, fix=_SET_UP)


def _blocked(reason: str) -> Problem:
    return Problem(
        code="publishers_blocked",
        message=f"the broker takes no messages: {reason}",
        where="WEFT_AMQP_URL",
        fix="give the broker's machine memory or disk space; what waits goes on by itself then",
    )


def _node_types() -> Iterator[tuple[str, str]]:
    for node_type in WORKER_TYPES:
        for lane in Lane:
            yield node_type.job_queue(lane), node_type.name
        yield f"dead.{node_type.queue}", node_type.name


_NODE_TYPES = dict(_node_types())
