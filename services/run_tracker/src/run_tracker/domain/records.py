"""Records of runs and nodes that only ever grow: merging is commutative, associative and idempotent.

Each status has a rank. Of two records the one further on gives the status and, where both know a field, the field.
What belongs to an attempt is kept for the latest attempt only. A final status outranks all others and equals every
other final one, so it is never replaced.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import ClassVar, Self
from uuid import UUID

from shared.contracts.base import Contract
from shared.contracts.errors import Problem
from shared.contracts.messages import (
    Event,
    NodeFailed,
    NodeMessage,
    NodeQueued,
    NodeRetrying,
    NodeSkipped,
    NodeStarted,
    NodeSucceeded,
    RunFinished,
    RunStarted,
    Usage,
)
from shared.contracts.states import FINAL_NODE_STATUSES, FINAL_RUN_STATUSES, NodeStatus, RunStatus
from shared.contracts.values import RecordValue, Value

_FINAL = 1_000_000_000
_PER_ATTEMPT = 10
_NODE_RANK: Mapping[NodeStatus, int] = MappingProxyType(
    {NodeStatus.PENDING: 0, NodeStatus.QUEUED: 1, NodeStatus.RUNNING: 2, NodeStatus.RETRYING: 3}
)


class Record(Contract):
    """Base of both records. `rank` says how far on the status is; `per_attempt` names what belongs to an attempt."""

    per_attempt: ClassVar[frozenset[str]] = frozenset()

    run_id: UUID
    rank: int

    @property
    def latest_attempt(self) -> int:
        """The attempt that `per_attempt` fields are about; 0 where there is none."""
        return 0

    def merge(self, other: Self) -> Self:
        """Return what both records together tell; of what belongs to an attempt, that of the latest only."""
        latest = max(self.latest_attempt, other.latest_attempt)
        records = (self.of_attempt(latest), other.of_attempt(latest))
        behind, ahead = sorted(records, key=lambda record: record.precedence)
        known = {name: value for name in type(self).model_fields if (value := getattr(behind, name)) is not None}
        return ahead.model_copy(update={name: value for name, value in known.items() if getattr(ahead, name) is None})

    def of_attempt(self, attempt: int) -> Self:
        """Return what the record tells if that is the latest attempt."""
        return self if self.latest_attempt == attempt else self.model_copy(update=dict.fromkeys(self.per_attempt))

    @property
    def precedence(self) -> tuple[int, str]:
        """Orders records by how far on they are."""
        # Where ranks are equal, so are the statuses; the rest is only there to make the order of merging irrelevant.
        return self.rank, self.model_dump_json()


class RunRecord(Record):
    """A run, as far as one or more events told."""

    status: RunStatus
    workflow_id: UUID | None = None
    workflow_version: int | None = None
    workflow_name: str | None = None
    trigger_run_id: str | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None
    total_nodes: int | None = None
    successful_nodes: int | None = None
    failed_nodes: int | None = None
    skipped_nodes: int | None = None
    cancelled_nodes: int | None = None
    result: RecordValue | None = None
    problems: tuple[Problem, ...] | None = None


class NodeRecord(Record):
    """A node execution, as far as one or more events told. `position` is its place in the workflow."""

    per_attempt: ClassVar[frozenset[str]] = frozenset(
        {
            *("attempt", "queued_at", "started_at", "retry_at", "finished_at"),
            *("seconds", "worker", "output", "error", "usage"),
        }
    )

    node_id: str
    status: NodeStatus
    node_type: str | None = None
    name: str | None = None
    position: int | None = None
    attempt: int | None = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    retry_at: datetime | None = None
    finished_at: datetime | None = None
    seconds: float | None = None
    worker: str | None = None
    output: Value | None = None
    error: Problem | None = None
    usage: Usage | None = None

    @property
    def latest_attempt(self) -> int:
        """The attempt that the record is about; 0 where it is about none."""
        return self.attempt or 0


def node_rank(status: NodeStatus, attempt: int) -> int:
    """Return how far on a node is; a later attempt is further on than an earlier one."""
    return _FINAL if status in FINAL_NODE_STATUSES else attempt * _PER_ATTEMPT + _NODE_RANK[status]


def run_rank(status: RunStatus) -> int:
    """Return how far on a run is."""
    return _FINAL if status in FINAL_RUN_STATUSES else 1


def records_of(event: Event) -> Iterator[RunRecord | NodeRecord]:
    """Yield what one event tells."""
    match event:
        case RunStarted():
            yield _run_started(event)
            yield from _nodes_started(event)
        case RunFinished():
            yield _run_finished(event)
            yield from (_final_word(event, node_id) for node_id in event.nodes)
        case NodeQueued():
            yield _attempt(event, NodeStatus.QUEUED, queued_at=event.at)
        case NodeStarted():
            yield _attempt(event, NodeStatus.RUNNING, started_at=event.at, worker=event.worker)
        case NodeSucceeded():
            yield _attempt(
                event,
                NodeStatus.SUCCESS,
                finished_at=event.at,
                seconds=event.seconds,
                output=event.output,
                usage=event.usage,
            )
        case NodeFailed(retryable=True):
            yield _attempt(event, NodeStatus.RETRYING, error=event.error)
        case NodeRetrying():
            yield _attempt(event, NodeStatus.RETRYING, error=event.error, retry_at=event.retry_at)
        case NodeFailed():
            yield _attempt(event, NodeStatus.FAILED, finished_at=event.at, seconds=event.seconds, error=event.error)
        case NodeSkipped():
            yield _attempt(event, NodeStatus.SKIPPED, finished_at=event.at)


def _run_started(event: RunStarted) -> RunRecord:
    return RunRecord(
        run_id=event.run_id,
        status=RunStatus.RUNNING,
        rank=run_rank(RunStatus.RUNNING),
        workflow_id=event.workflow_id,
        workflow_version=event.workflow_version,
        workflow_name=event.workflow_name,
        trigger_run_id=event.trigger_run_id,
        created_at=event.at,
        total_nodes=len(event.nodes),
    )


def _nodes_started(event: RunStarted) -> Iterator[NodeRecord]:
    for position, node in enumerate(event.nodes):
        ended = node.status in FINAL_NODE_STATUSES
        yield _node_record(
            event.run_id,
            node.node_id,
            node.status,
            node_type=node.node_type,
            name=node.name,
            position=position,
            output=node.output,
            finished_at=event.at if ended else None,
            attempt=1 if ended else None,
        )


def _run_finished(event: RunFinished) -> RunRecord:
    return RunRecord(
        run_id=event.run_id,
        status=event.status,
        rank=run_rank(event.status),
        finished_at=event.at,
        total_nodes=event.total_nodes,
        successful_nodes=event.successful_nodes,
        failed_nodes=event.failed_nodes,
        skipped_nodes=event.skipped_nodes,
        cancelled_nodes=event.cancelled_nodes,
        result=event.result,
        problems=event.problems,
    )


def _final_word(event: RunFinished, node_id: str) -> NodeRecord:
    """Return what the orchestrator says of a node at the end: it outranks a worker's late result."""
    return NodeRecord(run_id=event.run_id, node_id=node_id, status=event.nodes[node_id], rank=_FINAL + 1)


def _attempt(event: NodeMessage, status: NodeStatus, **told: object) -> NodeRecord:
    return _node_record(event.run_id, event.node_id, status, node_type=event.node_type, attempt=event.attempt, **told)


def _node_record(
    run_id: UUID, node_id: str, status: NodeStatus, *, attempt: int | None = None, **told: object
) -> NodeRecord:
    rank = node_rank(status, attempt or 0)
    return NodeRecord.model_validate(
        {"run_id": run_id, "node_id": node_id, "status": status, "rank": rank, "attempt": attempt, **told}
    )
