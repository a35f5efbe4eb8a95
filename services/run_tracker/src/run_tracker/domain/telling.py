"""What events tell about runs and nodes, as records."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from run_tracker.domain.records import (
    AttemptRecord,
    Completion,
    Failure,
    GivenUp,
    LateRecord,
    NodeRecord,
    Record,
    Retry,
    RunRecord,
    Start,
    Success,
    earliest_first,
    ended_rank,
    final_rank,
    given_up_rank,
    latest_first,
    node_rank,
    run_rank,
)
from shared.contracts.envelope import NodeMessage
from shared.contracts.events import (
    AnyEvent,
    NodeCancelled,
    NodeFailed,
    NodeLasting,
    NodeLate,
    NodeQueued,
    NodeRetrying,
    NodeSkipped,
    NodeStarted,
    NodeSucceeded,
    NodeSummary,
    RunFinished,
    RunQueued,
    RunRejected,
    RunStarted,
)
from shared.contracts.states import FINAL_NODE_STATUSES, NodeStatus, RunStatus

_Taken = RunQueued | RunStarted
_Attempted = NodeQueued | NodeStarted | NodeLasting | NodeSucceeded | NodeFailed
_Decided = NodeRetrying | NodeSkipped | NodeCancelled
_R = TypeVar("_R", bound=Record)


@dataclass(frozen=True, slots=True)
class Told:
    """What a number of events tell together: one record of each run, node and attempt; late results may be repeated."""

    runs: Mapping[Hashable, RunRecord]
    nodes: Mapping[Hashable, NodeRecord]
    attempts: Mapping[Hashable, AttemptRecord]
    late: Sequence[LateRecord]


def told_by(events: Iterable[AnyEvent]) -> Told:
    """Return what events tell together; their order does not matter, nor whether some are repeated."""
    records = [record for event in events for record in records_of(event)]
    nodes = (record for record in records if isinstance(record, NodeRecord))
    attempts = (record for record in records if isinstance(record, AttemptRecord))
    return Told(
        runs=_merged((record.run_id, record) for record in records if isinstance(record, RunRecord)),
        nodes=_merged(((record.run_id, record.node_id), record) for record in nodes),
        attempts=_merged(((record.run_id, record.node_id, record.attempt), record) for record in attempts),
        late=[record for record in records if isinstance(record, LateRecord)],
    )


def _merged(records: Iterable[tuple[Hashable, _R]]) -> Mapping[Hashable, _R]:
    merged: dict[Hashable, _R] = {}
    for key, record in records:
        merged[key] = merged[key].merge(record) if key in merged else record
    return merged


def records_of(event: AnyEvent) -> Iterator[RunRecord | NodeRecord | AttemptRecord | LateRecord]:
    """Yield what one event tells."""
    match event:
        case RunQueued() | RunStarted():
            yield _run_taken(event)
            for node in _nodes_taken(event):
                yield node
                if node.queued_at:
                    yield from _attempt_of(node)
        case RunRejected():
            return  # about a start that was refused; the run that exists has nothing to do with it
        case RunFinished():
            yield _run_finished(event)
            yield from (_final_word(event, node_id, status) for node_id, status in event.nodes.items())
        case NodeLate():
            yield _late(event)
        case NodeRetrying() | NodeSkipped() | NodeCancelled():
            yield _decided(event)
            yield from _given_up(event)
        case _:
            node = _attempted(event)
            yield node
            yield from _attempt_of(node)


def _run_taken(event: _Taken) -> RunRecord:
    status = RunStatus.RUNNING if isinstance(event, RunStarted) else RunStatus.QUEUED
    return RunRecord(
        run_id=event.run_id,
        status=status,
        rank=run_rank(status),
        workflow_id=event.workflow_id,
        workflow_version=event.workflow_version,
        workflow_name=event.workflow_name,
        trigger_run_id=event.trigger_run_id,
        resumed_from=event.resumed_from,
        scope=event.command and event.command.scope,
        owner=event.command and event.command.owner,
        tags=event.command and event.command.tags,
        metadata=event.command and event.command.metadata,
        command=event.command,
        created_at=event.at,
        total_nodes=len(event.nodes),
    )


def _nodes_taken(event: _Taken) -> Iterator[NodeRecord]:
    for position, node in enumerate(event.nodes):
        yield NodeRecord(
            run_id=event.run_id,
            node_id=node.node_id,
            workflow_id=event.workflow_id,
            run_created_at=event.at,
            node_type=node.node_type,
            name=node.name,
            position=position,
            **_as_taken(event, node),
        )


def _as_taken(event: _Taken, node: NodeSummary) -> Mapping[str, Any]:
    """Return what a run's start tells of a node: sources have succeeded already, first jobs are queued."""
    if node.status is NodeStatus.QUEUED:
        return {"status": node.status, "rank": node_rank(node.status, 1), "attempt": 1, "queued_at": node.queued_at}
    if node.status not in FINAL_NODE_STATUSES or node.output is None:
        return {"status": node.status, "rank": node_rank(node.status, 0)}
    success = Success(order=earliest_first(event.at), finished_at=event.at, output=node.output, cached=node.cached)
    return {"status": node.status, "rank": ended_rank(node.status, 1), "attempt": 1, "success": success}


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
        cached_nodes=event.cached_nodes,
        tokens=event.tokens,
        cost=event.cost,
        result=event.result,
        problems=event.problems,
    )


def _final_word(event: RunFinished, node_id: str, status: NodeStatus) -> NodeRecord:
    return NodeRecord(run_id=event.run_id, node_id=node_id, status=status, rank=final_rank(status))


def _late(event: NodeLate) -> LateRecord:
    return LateRecord(
        run_id=event.run_id,
        node_id=event.node_id,
        attempt=event.attempt,
        outcome=event.outcome,
        at=event.at,
        usage=event.usage,
    )


def _decided(event: _Decided) -> NodeRecord:
    """Return what the orchestrator decided about an attempt, whatever a worker tells of it."""
    match event:
        case NodeRetrying():
            retry = Retry(order=earliest_first(event.at), error=event.error, retry_at=event.retry_at)
            rank = given_up_rank(event.attempt)
            return _record(event, NodeStatus.RETRYING, rank, retry=retry, queued_at=event.queued_at)
        case NodeSkipped():
            return _record(event, NodeStatus.SKIPPED, ended_rank(NodeStatus.SKIPPED, event.attempt), ended_at=event.at)
        case NodeCancelled():
            return _record(
                event, NodeStatus.CANCELLED, ended_rank(NodeStatus.CANCELLED, event.attempt), ended_at=event.at
            )


def _attempted(event: _Attempted) -> NodeRecord:
    """Return what was told of an attempt, mostly by its worker."""
    match event:
        case NodeQueued():
            return _record(event, NodeStatus.QUEUED, node_rank(NodeStatus.QUEUED, event.attempt), queued_at=event.at)
        case NodeStarted():
            return _running(event, Start(order=latest_first(event.at), started_at=event.at, worker=event.worker))
        case NodeLasting():
            order = latest_first(event.started_at, preferred=False)
            return _running(event, Start(order=order, started_at=event.started_at))
        case NodeSucceeded():
            return _succeeded(event)
        case NodeFailed():
            return _failed(event)


def _given_up(event: _Decided) -> Iterator[AttemptRecord]:
    if isinstance(event, NodeRetrying):
        given_up = GivenUp(order=earliest_first(event.at), finished_at=event.at, error=event.error)
        yield AttemptRecord(
            run_id=event.run_id,
            node_id=event.node_id,
            attempt=event.attempt,
            queued_at=event.queued_at,
            given_up=given_up,
        )


def _attempt_of(node: NodeRecord) -> Iterator[AttemptRecord]:
    """Yield what is told of the attempt itself; where an earlier output was reused, none was made."""
    if node.attempt is None or (node.success and node.success.cached):
        return
    yield AttemptRecord(
        run_id=node.run_id,
        node_id=node.node_id,
        attempt=node.attempt,
        queued_at=node.queued_at,
        start=node.start,
        success=node.success and _completion(node.success),
        failure=node.failure,
    )


def _completion(success: Success) -> Completion:
    return Completion(
        order=success.order, finished_at=success.finished_at, seconds=success.seconds, usage=success.usage
    )


def _running(event: NodeMessage, start: Start) -> NodeRecord:
    return _record(event, NodeStatus.RUNNING, node_rank(NodeStatus.RUNNING, event.attempt), start=start)


def _succeeded(event: NodeSucceeded) -> NodeRecord:
    success = Success(
        order=earliest_first(event.at, preferred=event.cached),
        finished_at=event.at,
        output=event.output,
        seconds=event.seconds,
        usage=event.usage,
        cached=event.cached,
        warnings=event.warnings,
    )
    # Only the orchestrator knows earlier outputs.
    ranked = ended_rank if event.cached else node_rank
    rank = ranked(NodeStatus.SUCCESS, event.attempt)
    return _record(event, NodeStatus.SUCCESS, rank, success=success, queued_at=event.queued_at, start=_start(event))


def _failed(event: NodeFailed) -> NodeRecord:
    status = NodeStatus.RETRYING if event.retryable else NodeStatus.FAILED
    failure = Failure(
        order=earliest_first(event.at, preferred=not event.retryable),
        finished_at=event.at,
        error=event.error,
        retryable=event.retryable,
        seconds=event.seconds,
        usage=event.usage,
    )
    rank = node_rank(status, event.attempt)
    return _record(event, status, rank, failure=failure, queued_at=event.queued_at, start=_start(event))


def _start(event: NodeSucceeded | NodeFailed) -> Start | None:
    """Return what a result tells of its job's start; nothing, where the orchestrator told it."""
    if event.started_at is None:
        return None
    return Start(order=latest_first(event.started_at), started_at=event.started_at, worker=event.worker)


def _record(event: NodeMessage, status: NodeStatus, rank: int, **told: Any) -> NodeRecord:
    """Return a record of the attempt that an event is about."""
    return NodeRecord(**event.about, status=status, rank=rank, **told)
