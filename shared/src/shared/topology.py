"""Every exchange, queue and binding on the broker, in one place, declared by one command.

Services only check that what they use is there. The arguments are understood by RabbitMQ 3.10 and 4.x alike.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import aiormq
from aio_pika.abc import AbstractChannel, AbstractQueue
from aio_pika.exceptions import ChannelClosed

from shared.contracts.bundles import Bundle, Publishable
from shared.contracts.commands import (
    NodeAbandon,
    NodeExecute,
    NodeExpire,
    NodeReplay,
    NodeRetry,
    RunAdmit,
    RunCancel,
    RunExpire,
    RunStart,
)
from shared.contracts.envelope import NodeMessage
from shared.contracts.errors import UnavailableError, unavailable
from shared.contracts.events import NodeProgress, WorkerMessage
from shared.contracts.node_type import NodeType
from shared.contracts.node_types import WORKER_TYPES
from shared.contracts.run_options import Lane

RUNS = "weft.runs"
JOBS = "weft.jobs"
RESULTS = "weft.results"
EVENTS = "weft.events"
PROGRESS = "weft.progress"
CONTROL = "weft.control"
QUERIES = "weft.queries"
DEAD = "weft.dead"
EXCHANGES: Mapping[str, str] = {
    RUNS: "topic",
    JOBS: "direct",
    RESULTS: "topic",
    EVENTS: "topic",
    PROGRESS: "topic",
    CONTROL: "direct",
    QUERIES: "direct",
    DEAD: "direct",
}
RESULT_BUNDLES = "node.results"  # the routing key of results together
# What workers tell reaches the orchestrator, which tells everybody, in bundles. Earlier versions had it forwarded.
NO_LONGER_FORWARDED: Mapping[str, str] = {RESULTS: EVENTS}

COMMANDS_QUEUE = "orchestrator.commands"
RESULTS_QUEUE = "orchestrator.results"
DEAD_JOBS_QUEUE = "orchestrator.dead_jobs"
HISTORY_QUEUE = "run_tracker.events"
QUERIES_QUEUE = "run_tracker.queries"
WHY_QUEUE = "orchestrator.queries"
LIVE_STREAM = "gateway.events"
COSTS_QUEUE = "llm_worker.queries"

# A job that killed its worker three times is not given to a fourth. A worker's death counts against all jobs that it
# had in hand; so after the first one they are suspects, which are tried one at a time, and innocent ones get away.
JOB_DELIVERY_LIMIT = 0
SUSPECT_DELIVERY_LIMIT = 1
LETHAL_DEATHS = (JOB_DELIVERY_LIMIT + 1) + (SUSPECT_DELIVERY_LIMIT + 1)
# Other messages harm nobody, but a message that can never be handled must end in its dead-letter queue.
DELIVERY_LIMIT = 20
# Dead letters stay until a person decides; RabbitMQ 4 would drop them after 20 looks.
DEAD_DELIVERY_LIMIT = 1_000_000
QUERY_TTL_MS = 10_000
QUERY_QUEUES = (QUERIES_QUEUE, WHY_QUEUE, COSTS_QUEUE)
# What is kept of the stream of live events: the least that the first limit to be reached leaves, in whole segments.
STREAM_MAX_AGE = "1h"
STREAM_MAX_BYTES = 256 * 1024 * 1024
STREAM_SEGMENT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Binding:
    """Messages of an exchange with a routing key (pattern) reach the queue."""

    exchange: str
    routing_key: str


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue with its bindings. Durable ones are quorum queues; their dead letters end in `dead_letter_queue`."""

    name: str
    bindings: tuple[Binding, ...]
    arguments: Mapping[str, str | int]
    dead_letter_queue: str | None = None


def _quorum(
    name: str, *bindings: Binding, delivery_limit: int = DELIVERY_LIMIT, dead_letters: str | None = None
) -> Queue:
    """Return a queue whose dead letters have the routing key `dead_letters`: its own name, if nothing is said."""
    dead_letters = dead_letters or name
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": delivery_limit,
        "x-dead-letter-exchange": DEAD,
        "x-dead-letter-routing-key": dead_letters,
        # At least once: a dead letter is not removed here before it is safe there. It asks for reject-publish.
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    return Queue(name, bindings, arguments, dead_letter_queue=f"dead.{dead_letters}")


def _dead(name: str) -> Queue:
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": DEAD_DELIVERY_LIMIT}
    return Queue(name, (Binding(DEAD, name.removeprefix("dead.")),), arguments)


def _job_queues(node_type: NodeType) -> Iterator[Queue]:
    """Yield a queue for each lane of a type: what dies in any other becomes a suspect, what dies there is dead."""
    suspects = node_type.job_queue(Lane.SUSPECT)
    for lane in Lane:
        name, binding = node_type.job_queue(lane), Binding(JOBS, lane.name_in(node_type.name))
        if lane is Lane.SUSPECT:
            yield _quorum(
                name,
                binding,
                Binding(DEAD, suspects),
                delivery_limit=SUSPECT_DELIVERY_LIMIT,
                dead_letters=node_type.queue,
            )
        else:
            job_queue = _quorum(name, binding, delivery_limit=JOB_DELIVERY_LIMIT, dead_letters=suspects)
            yield replace(job_queue, dead_letter_queue=f"dead.{node_type.queue}")


_TOLD = (Binding(EVENTS, "run.#"), Binding(EVENTS, "node.#"), Binding(EVENTS, Bundle.kind_name()))
_LIVE_QUEUES = (
    _quorum(COMMANDS_QUEUE, Binding(RUNS, "run.*"), Binding(RUNS, "node.retry"), Binding(RUNS, "node.replay")),
    # A timeout waits its turn behind results that came before it, else these would be late after an outage.
    _quorum(RESULTS_QUEUE, Binding(RESULTS, "node.#"), Binding(RUNS, "node.expire")),
    # A second copy of each dead job: the first stays in its dead-letter queue for people, this one fails its node.
    _quorum(DEAD_JOBS_QUEUE, *(Binding(DEAD, node_type.queue) for node_type in WORKER_TYPES if node_type.queue)),
    _quorum(HISTORY_QUEUE, *_TOLD),
    *(queue for node_type in WORKER_TYPES for queue in _job_queues(node_type)),
)
_DEAD_LETTER_QUEUES = {queue.dead_letter_queue for queue in _LIVE_QUEUES if queue.dead_letter_queue}
QUEUES: tuple[Queue, ...] = (
    *_LIVE_QUEUES,
    *map(_dead, sorted(_DEAD_LETTER_QUEUES)),
    # A query is worth nothing once its asker has given up.
    *(Queue(name, (Binding(QUERIES, name),), {"x-message-ttl": QUERY_TTL_MS}) for name in QUERY_QUEUES),
)
# One log for all gateways: every event has the same position for each of them, and can be read from there again.
# No queue among the others: it has no dead letters, cannot be emptied, and is not consumed but read.
STREAM = Queue(
    LIVE_STREAM,
    (*_TOLD, Binding(PROGRESS, "node.#")),
    {
        "x-queue-type": "stream",
        "x-max-age": STREAM_MAX_AGE,
        "x-max-length-bytes": STREAM_MAX_BYTES,
        "x-stream-max-segment-size-bytes": STREAM_SEGMENT_BYTES,
    },
)


def address(message: Publishable) -> tuple[str, str]:
    """Return the exchange and the routing key that a message is published with, by any service but a worker."""
    match message:
        case NodeExecute():
            return JOBS, message.lane.name_in(message.node_type)
        case RunStart() | RunCancel() | RunAdmit() | RunExpire() | NodeRetry() | NodeReplay() | NodeExpire():
            return RUNS, message.kind_name()
        case NodeAbandon():
            return CONTROL, message.node_type
        case NodeProgress():
            return PROGRESS, f"{message.kind_name()}.{message.node_type}"
        case NodeMessage():
            return EVENTS, f"{message.kind_name()}.{message.node_type}"
        case _:
            return EVENTS, message.kind_name()


def worker_address(message: Publishable) -> tuple[str, str]:
    """Return the exchange and the routing key that a worker publishes a message with."""
    if isinstance(message, Bundle) and issubclass(message.first, WorkerMessage):
        return RESULTS, RESULT_BUNDLES
    exchange, routing_key = address(message)
    return (RESULTS if isinstance(message, WorkerMessage) else exchange), routing_key


async def declare(channel: AbstractChannel) -> None:
    """Create all exchanges, queues and bindings that are not there yet; no queue is ever deleted.

    Raises UnavailableError `topology_refused` where the broker has one with other arguments, or the user may not.
    """
    try:
        await _declare(channel)
    except ChannelClosed as err:
        raise unavailable(
            "topology_refused",
            f"the broker refuses to declare the topology: {err}",
            where="WEFT_AMQP_URL",
            fix="remove what differs, or use a user that may configure",
        ) from err


async def _declare(channel: AbstractChannel) -> None:
    for name, kind in EXCHANGES.items():
        await channel.declare_exchange(name, kind, durable=True)
    for source, destination in NO_LONGER_FORWARDED.items():
        await (await channel.get_exchange(destination)).unbind(source, "#")
    for queue in (*QUEUES, STREAM):
        declared = await channel.declare_queue(queue.name, durable=True, arguments=dict(queue.arguments))
        for binding in queue.bindings:
            await declared.bind(binding.exchange, binding.routing_key)


def unreadable(queue: str, err: Exception) -> UnavailableError:
    """Return the error that says that a queue cannot be looked at now."""
    return unavailable("broker_unreachable", f"the broker cannot be asked: {err or type(err).__name__}", where=queue)


async def check_queue(channel: AbstractChannel, name: str) -> AbstractQueue:
    """Return the queue if it exists, with its depth and consumers; raise UnavailableError if it does not."""
    try:
        return await channel.declare_queue(name, passive=True)
    except ChannelClosed as err:
        raise _missing(name) from err


async def look_at_queue(channel: aiormq.abc.AbstractChannel, name: str) -> aiormq.spec.Queue.DeclareOk:
    """Return a queue's depth and consumers; raise UnavailableError if it does not exist, and the channel is closed."""
    try:
        return await channel.queue_declare(name, passive=True)
    except ChannelClosed as err:
        raise _missing(name) from err


def _missing(queue: str) -> UnavailableError:
    return unavailable(
        "topology_missing",
        f"the broker has no queue {queue!r}",
        where="WEFT_AMQP_URL",
        fix="declare the topology: weft setup",
    )
