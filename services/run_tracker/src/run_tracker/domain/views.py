"""What to show of a node and of its attempts: of all that was told, that which the node's status chooses."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from run_tracker.domain.records import AttemptRecord, NodeRecord
from shared.contracts.history import TimelineEntry
from shared.contracts.queries import AttemptView, LateResult, NodeView
from shared.contracts.states import NodeStatus


def node_view(record: NodeRecord, late: Iterable[LateResult] = (), attempts: Iterable[AttemptRecord] = ()) -> NodeView:
    """Return a node as it is shown, with its late results and its attempts. A late output, or error, is not shown."""
    known = {**dict(record), **dict(record.start or ()), **_outcome(record), "late": tuple(late)}
    # What failed without ever having been handed to a worker was no attempt.
    made = (attempt for attempt in attempts if attempt.queued_at or attempt.start)
    known["attempts"] = tuple(_attempt_view(attempt, record) for attempt in made)
    return NodeView.model_validate(_without_none(known), by_name=True)


def timeline(node: NodeView) -> Iterator[TimelineEntry]:
    """Yield an entry for each attempt at a node; one for the node itself, where none was made."""
    common = {name: getattr(node, name) for name in ("node_id", "node_type", "name", "cached")}
    for attempt in node.attempts:
        yield TimelineEntry.model_validate(dict(attempt) | common, by_name=True)
    if not node.attempts:
        yield TimelineEntry.model_validate({**dict(node), **common, "attempt": None}, by_name=True)


def _outcome(record: NodeRecord) -> Mapping[str, object]:
    match record.status:
        case NodeStatus.SUCCESS:
            return dict(record.success or ())  # the final word may be here before the output
        case NodeStatus.FAILED:
            return dict(record.failure or ())
        case NodeStatus.RETRYING:
            return _retry(record)
        case _:
            return {"finished_at": record.ended_at}


def _retry(record: NodeRecord) -> Mapping[str, object]:
    """Return why another attempt follows, and what the failed one cost, if it did not fail after it was given up."""
    failure, retry = record.failure, record.retry
    is_late = failure and retry and failure.error != retry.error
    failed = {} if is_late else {**dict(failure or ()), "finished_at": None}
    return {**failed, **dict(retry or ())}


def _attempt_view(attempt: AttemptRecord, node: NodeRecord) -> AttemptView:
    """Return an attempt as it is shown: one that another one follows has failed."""
    is_over = attempt.attempt < node.latest_attempt or node.status is NodeStatus.RETRYING
    status = NodeStatus.FAILED if is_over else node.status
    ended = _failed_attempt(attempt) if is_over else _last_attempt(attempt, node)
    known = {**dict(attempt), **dict(attempt.start or ()), **ended, "status": status}
    waited = _seconds(attempt.queued_at, attempt.start and attempt.start.started_at)
    return AttemptView.model_validate(_without_none({**known, "queue_seconds": waited}), by_name=True)


def _last_attempt(attempt: AttemptRecord, node: NodeRecord) -> Mapping[str, object]:
    match node.status:
        case NodeStatus.SUCCESS:
            return dict(attempt.success or ())
        case NodeStatus.FAILED:
            return dict(attempt.failure or ())
        case _:
            return {"finished_at": node.ended_at}


def _failed_attempt(attempt: AttemptRecord) -> Mapping[str, object]:
    """Return how an attempt failed: as its worker said, unless the orchestrator had given it up for another reason."""
    failure, given_up = attempt.failure, attempt.given_up
    is_late = failure and given_up and failure.error != given_up.error
    told = given_up if is_late else failure or given_up
    return dict(told) if told else {}


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    """Return the time between two clocks' words; clocks that differ make no wait negative."""
    return max((end - start).total_seconds(), 0.0) if start and end else None


def _without_none(known: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in known.items() if value is not None}
