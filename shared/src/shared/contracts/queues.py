"""What operators are told of the queues, by node type and one by one. What is None is not known, which is not zero."""

from datetime import datetime
from enum import StrEnum

from shared.contracts.base import Contract
from shared.contracts.errors import Problem


class LevelSource(StrEnum):
    """Where the levels come from: with the broker's management API, or by AMQP alone, which tells less."""

    MANAGEMENT = "management"
    AMQP = "amqp"


class MessageRates(Contract):
    """Messages per second, as the broker has counted them last."""

    published: float | None = None
    delivered: float | None = None
    acknowledged: float | None = None


class QueueLevel(Contract):
    """A queue as it is now: `ready` messages wait, `unacked` ones are in somebody's hands.

    `node_type` is that of the jobs in it, or of those whose dead letters it holds.
    """

    name: str
    exists: bool = True
    node_type: str | None = None
    holds_dead_letters: bool = False
    ready: int | None = None
    unacked: int | None = None
    consumers: int | None = None
    rates: MessageRates = MessageRates()
    warnings: tuple[Problem, ...] = ()


class NodeTypeLevel(Contract):
    """The jobs of a node type, over all its queues. Rates are jobs per second in the last minutes, by their events.

    `consumers` are those of the queue that has fewest. `drain_seconds` is how long the jobs that wait will take at the
    rate at which jobs end now; None where none does, or where nobody knows how many wait. `oldest_seconds` is how long
    the job that has waited longest has waited.
    """

    node_type: str
    waiting: int | None = None
    in_hand: int | None = None
    consumers: int | None = None
    dead_letters: int | None = None
    oldest_queued_at: datetime | None = None
    oldest_seconds: float | None = None
    arriving: float = 0.0
    finishing: float = 0.0
    drain_seconds: float | None = None
    warnings: tuple[Problem, ...] = ()


class QueuesView(Contract):
    """All queues. `window_seconds` is the time over which the rates of node types are taken.

    The `warnings` here are about the broker as a whole; node types and queues have their own.
    """

    at: datetime
    source: LevelSource
    window_seconds: float
    node_types: tuple[NodeTypeLevel, ...]
    queues: tuple[QueueLevel, ...]
    warnings: tuple[Problem, ...] = ()


class QueueDetails(Contract):
    """One queue, the node type that it belongs to, and what is wrong with the broker as a whole."""

    at: datetime
    source: LevelSource
    queue: QueueLevel
    node_type: NodeTypeLevel | None = None
    warnings: tuple[Problem, ...] = ()
