"""Every exchange, queue and binding on the broker, in one place, declared by one command.

Services only check that what they use is there. The arguments are understood by RabbitMQ 3.10 and 4.x alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from aio_pika.abc import AbstractChannel, AbstractQueue
from aio_pika.exceptions import ChannelClosed

from shared.contracts.errors import unavailable
from shared.contracts.messages import Message, NodeExecute, NodeMessage, NodeRetry, RunStart
from shared.contracts.node_types import WORKER_TYPES

RUNS = "weft.runs"
JOBS = "weft.jobs"
EVENTS = "weft.events"
QUERIES = "weft.queries"
DEAD = "weft.dead"
EXCHANGES: Mapping[str, str] = {RUNS: "topic", JOBS: "direct", EVENTS: "topic", QUERIES: "direct", DEAD: "direct"}

COMMANDS_QUEUE = "orchestrator.commands"
RESULTS_QUEUE = "orchestrator.results"
DEAD_JOBS_QUEUE = "orchestrator.dead_jobs"
HISTORY_QUEUE = "run_tracker.events"
QUERIES_QUEUE = "run_tracker.queries"

# A job that killed its worker three times is not given to a fourth.
JOB_DELIVERY_LIMIT = 2
# Other messages harm nobody, but a message that can never be handled must end in its dead-letter queue.
DELIVERY_LIMIT = 20
# Dead letters stay until a person decides; RabbitMQ 4 would drop them after 20 looks.
DEAD_DELIVERY_LIMIT = 1_000_000
QUERY_TTL_MS = 10_000


@dataclass(frozen=True, slots=True)
class Binding:
    """Messages of an exchange with a routing key (pattern) reach the queue."""

    exchange: str
    routing_key: str


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue with its bindings. Durable ones are quorum queues with a dead-letter queue beside them."""

    name: str
    bindings: tuple[Binding, ...]
    arguments: Mapping[str, str | int]

    @property
    def dead_letter_queue(self) -> str | None:
        """The name of the queue that this one's dead letters go to, if it has one."""
        return f"dead.{self.name}" if "x-dead-letter-exchange" in self.arguments else None


def _quorum(name: str, *bindings: Binding, delivery_limit: int = DELIVERY_LIMIT) -> Queue:
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": delivery_limit,
        "x-dead-letter-exchange": DEAD,
        "x-dead-letter-routing-key": name,
        # At least once: a dead letter is not removed here before it is safe there. It asks for reject-publish.
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    return Queue(name, bindings, arguments)


def _dead(queue: Queue) -> Queue:
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": DEAD_DELIVERY_LIMIT}
    return Queue(f"dead.{queue.name}", (Binding(DEAD, queue.name),), arguments)


def _job_queues() -> tuple[Queue, ...]:
    return tuple(
        _quorum(node_type.queue, Binding(JOBS, node_type.name), delivery_limit=JOB_DELIVERY_LIMIT)
        for node_type in WORKER_TYPES
        if node_type.queue
    )


def _result_bindings() -> tuple[Binding, ...]:
    # Only workers' results: what the orchestrator itself tells of inline nodes must not come back to it.
    return tuple(
        Binding(EVENTS, f"node.{outcome}.{node_type.name}")
        for node_type in WORKER_TYPES
        for outcome in ("succeeded", "failed")
    )


_LIVE_QUEUES = (
    _quorum(COMMANDS_QUEUE, Binding(RUNS, "run.*"), Binding(RUNS, "node.*")),
    _quorum(RESULTS_QUEUE, *_result_bindings()),
    # A second copy of each dead job: the first stays in its dead-letter queue for people, this one fails its node.
    _quorum(DEAD_JOBS_QUEUE, *(Binding(DEAD, queue.name) for queue in _job_queues())),
    _quorum(HISTORY_QUEUE, Binding(EVENTS, "run.#"), Binding(EVENTS, "node.#")),
    *_job_queues(),
)
QUEUES: tuple[Queue, ...] = (
    *_LIVE_QUEUES,
    *(_dead(queue) for queue in _LIVE_QUEUES),
    # A query is worth nothing once its asker has given up.
    Queue(QUERIES_QUEUE, (Binding(QUERIES, QUERIES_QUEUE),), {"x-message-ttl": QUERY_TTL_MS}),
)


def address(message: Message) -> tuple[str, str]:
    """Return the exchange and the routing key that a message is published with."""
    match message:
        case NodeExecute():
            return JOBS, message.node_type
        case RunStart() | NodeRetry():
            return RUNS, message.kind_name()
        case NodeMessage():
            return EVENTS, f"{message.kind_name()}.{message.node_type}"
        case _:
            return EVENTS, message.kind_name()


async def declare(channel: AbstractChannel) -> None:
    """Create all exchanges, queues and bindings that are not there yet; nothing is ever deleted.

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
    for queue in QUEUES:
        declared = await channel.declare_queue(queue.name, durable=True, arguments=dict(queue.arguments))
        for binding in queue.bindings:
            await declared.bind(binding.exchange, binding.routing_key)


async def check_queue(channel: AbstractChannel, name: str) -> AbstractQueue:
    """Return the queue if it exists, with its depth and consumers; raise UnavailableError if it does not."""
    try:
        return await channel.declare_queue(name, passive=True)
    except ChannelClosed as err:
        raise unavailable(
            "topology_missing",
            f"the broker has no queue {name!r}",
            where="WEFT_AMQP_URL",
            fix="declare the topology: weft setup",
        ) from err
