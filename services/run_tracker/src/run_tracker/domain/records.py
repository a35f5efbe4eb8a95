"""Records of runs and nodes that only ever grow: merging is commutative, associative and idempotent.

A record's status is the one with the highest rank: a later attempt is above all that was told of an earlier one, and
what is told of every node when the run ends is above all attempts. Of what belongs to an attempt, a node's record keeps
only that of the latest one; each attempt has a record of its own besides.
Each outcome that was told of an attempt is a fact by itself, beside others that contradict it: which one counts is
read off the status (`run_tracker.domain.views`), and the orchestrator's final word may yet change that.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar, Self
from uuid import UUID

from shared.contracts.base import Contract
from shared.contracts.commands import RunStart
from shared.contracts.errors import Problem
from shared.contracts.events import Usage
from shared.contracts.labels import Metadata, Tags
from shared.contracts.owners import Owner
from shared.contracts.run_options import Scope
from shared.contracts.states import FINAL_RUN_STATUSES, NodeStatus, RunStatus
from shared.contracts.values import RecordValue, Value

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STATUSES = tuple(NodeStatus)
_PER_ATTEMPT = 10
_RETRYING = 6  # the orchestrator's word that an attempt was given up: its result may still come, and is too late
_NODE_RANK: Mapping[NodeStatus, int] = MappingProxyType(
    {
        NodeStatus.PENDING: 0,
        NodeStatus.QUEUED: 1,
        NodeStatus.RUNNING: 2,
        NodeStatus.RETRYING: 3,
        NodeStatus.SUCCESS: 4,
        NodeStatus.FAILED: 5,  # above success, since a timeout that is told as a failure may precede a late success
    }
)
# How the orchestrator ended an attempt by itself, whatever a worker tells of it: with an output that was known before,
# or without one. A person may bring the node back, and then a later attempt is further on.
_ENDED_RANK: Mapping[NodeStatus, int] = MappingProxyType(
    {NodeStatus.SUCCESS: 7, NodeStatus.SKIPPED: 8, NodeStatus.CANCELLED: 9}
)
_FINAL = 1_000_000_000  # the end of a run
_FINAL_WORD = _FINAL + len(_STATUSES)  # what is told then of every node


class Fact(Contract):
    """What was told of an attempt at once, by the names that `NodeView` has for it.

    Of two such facts, the one with the higher `order` stays. They differ only where two workers had the same job, or
    where the orchestrator told the same again at another time.
    """

    order: tuple[int, int]


class Start(Fact):
    """A worker took the job; which one is None where only the time was told."""

    started_at: datetime
    worker: str | None = None


class Success(Fact):
    """The attempt gave an output."""

    finished_at: datetime
    output: Value
    seconds: float | None = None
    usage: Usage | None = None
    cached: bool = False
    warnings: tuple[Problem, ...] = ()


class Failure(Fact):
    """The attempt failed; where `retryable`, that is not the end of its node."""

    finished_at: datetime
    error: Problem
    retryable: bool = False
    seconds: float | None = None
    usage: Usage | None = None


class Retry(Fact):
    """The attempt was given up for another one."""

    error: Problem
    retry_at: datetime


class Completion(Fact):
    """An attempt gave an output, which is its node's to keep."""

    finished_at: datetime
    seconds: float | None = None
    usage: Usage | None = None


class GivenUp(Fact):
    """The orchestrator gave an attempt up, so whatever comes of it is late."""

    finished_at: datetime
    error: Problem


class Record(Contract):
    """Base of all records that are merged.

    Fields in `facts` hold a Fact, of those in `times` the earliest is kept, those in `ranked` are those of the record
    that is further on; all others are equal whenever they are told. `per_attempt` names what belongs to an attempt.
    """

    facts: ClassVar[frozenset[str]] = frozenset()
    times: ClassVar[frozenset[str]] = frozenset()
    ranked: ClassVar[frozenset[str]] = frozenset()
    per_attempt: ClassVar[frozenset[str]] = frozenset()

    run_id: UUID

    @property
    def progress(self) -> int:
        """How far on the record is; where that is equal, so are the fields in `ranked`."""
        return 0

    @property
    def latest_attempt(self) -> int:
        """The attempt that `per_attempt` fields are about; 0 where there is none."""
        return 0

    def merge(self, other: Self) -> Self:
        """Return what both records together tell."""
        older, newer = sorted((self, other), key=lambda record: record.latest_attempt)
        outdated = self.per_attempt if older.latest_attempt < newer.latest_attempt else frozenset[str]()
        merged = {
            name: self._merged(name, value, getattr(newer, name))
            for name, value in older
            if value is not None and name not in outdated
        }
        furthest = max(older, newer, key=lambda record: record.progress)
        return newer.model_copy(update=merged | {name: getattr(furthest, name) for name in self.ranked})

    def _merged(self, name: str, one: Any, other: Any) -> Any:
        if other is None:
            return one
        if name in self.facts:
            return max(one, other, key=lambda fact: fact.order)
        return min(one, other) if name in self.times else other


class RankedRecord(Record):
    """Base of the records that have a status: `rank` says how far on it is."""

    ranked: ClassVar[frozenset[str]] = frozenset({"rank", "status"})

    rank: int

    @property
    def progress(self) -> int:
        """How far on the status is."""
        return self.rank


class RunRecord(RankedRecord):
    """A run, as far as one or more events told."""

    times: ClassVar[frozenset[str]] = frozenset({"created_at", "finished_at"})

    status: RunStatus
    workflow_id: UUID | None = None
    workflow_version: int | None = None
    workflow_name: str | None = None
    trigger_run_id: str | None = None
    resumed_from: UUID | None = None
    scope: Scope | None = None
    owner: Owner | None = None
    tags: Tags | None = None
    metadata: Metadata | None = None
    command: RunStart | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None
    total_nodes: int | None = None
    successful_nodes: int | None = None
    failed_nodes: int | None = None
    skipped_nodes: int | None = None
    cancelled_nodes: int | None = None
    cached_nodes: int | None = None
    tokens: int | None = None
    cost: float | None = None
    result: RecordValue | None = None
    problems: tuple[Problem, ...] | None = None


class NodeRecord(RankedRecord):
    """A node execution, as far as one or more events told.

    `position` is its place in the workflow; `workflow_id` and `run_created_at` are those of its run. `ended_at` is when
    it was skipped or cancelled.
    """

    facts: ClassVar[frozenset[str]] = frozenset({"start", "success", "failure", "retry"})
    times: ClassVar[frozenset[str]] = frozenset({"run_created_at", "queued_at", "ended_at"})
    per_attempt: ClassVar[frozenset[str]] = facts | {"attempt", "queued_at", "ended_at"}

    node_id: str
    status: NodeStatus
    workflow_id: UUID | None = None
    run_created_at: datetime | None = None
    node_type: str | None = None
    name: str | None = None
    position: int | None = None
    attempt: int | None = None
    queued_at: datetime | None = None
    start: Start | None = None
    success: Success | None = None
    failure: Failure | None = None
    retry: Retry | None = None
    ended_at: datetime | None = None

    @property
    def latest_attempt(self) -> int:
        """The attempt that the record is about; 0 where it is about none."""
        return self.attempt or 0


class AttemptRecord(Record):
    """An attempt at a node, as far as one or more events told; of an output it says only that there is one."""

    facts: ClassVar[frozenset[str]] = frozenset({"start", "success", "failure", "given_up"})
    times: ClassVar[frozenset[str]] = frozenset({"queued_at"})

    node_id: str
    attempt: int
    queued_at: datetime | None = None
    start: Start | None = None
    success: Completion | None = None
    failure: Failure | None = None
    given_up: GivenUp | None = None


class LateRecord(Contract):
    """A result that came when its attempt had been given up; nothing is merged, each is kept once."""

    run_id: UUID
    node_id: str
    attempt: int
    outcome: NodeStatus
    at: datetime
    usage: Usage | None = None


def node_rank(status: NodeStatus, attempt: int) -> int:
    """Return how far on a node is, of whom anybody tells; a later attempt is further on than an earlier one."""
    return attempt * _PER_ATTEMPT + _NODE_RANK[status]


def given_up_rank(attempt: int) -> int:
    """Return how far on a node is whose attempt the orchestrator gave up for another one."""
    return attempt * _PER_ATTEMPT + _RETRYING


def ended_rank(status: NodeStatus, attempt: int) -> int:
    """Return how far on a node is that the orchestrator ended, whatever a worker tells of the attempt."""
    return attempt * _PER_ATTEMPT + _ENDED_RANK[status]


def final_rank(status: NodeStatus) -> int:
    """Return how far on a node is of which the orchestrator has told when its run ended: nothing is further on."""
    return _FINAL_WORD + _STATUSES.index(status)


def run_rank(status: RunStatus) -> int:
    """Return how far on a run is."""
    return _FINAL if status in FINAL_RUN_STATUSES else int(status is RunStatus.RUNNING)


def latest_first(at: datetime, *, preferred: bool = True) -> tuple[int, int]:
    """Return the order of a fact of which the latest stays; one that is preferred stays in any case."""
    return int(preferred), (at - _EPOCH) // timedelta(microseconds=1)


def earliest_first(at: datetime, *, preferred: bool = False) -> tuple[int, int]:
    """Return the order of a fact of which the earliest stays; one that is preferred stays in any case."""
    return int(preferred), -((at - _EPOCH) // timedelta(microseconds=1))
