"""What to show of a node: of all that was told of its latest attempt, that which its status chooses."""

from collections.abc import Iterable, Mapping

from run_tracker.domain.records import NodeRecord
from shared.contracts.queries import LateResult, NodeView
from shared.contracts.states import NodeStatus


def node_view(record: NodeRecord, late: Iterable[LateResult] = ()) -> NodeView:
    """Return a node as it is shown, with its late results. A late output, or a late error, is not shown."""
    known = {**dict(record), **dict(record.start or ()), **_outcome(record), "late": tuple(late)}
    return NodeView.model_validate({name: value for name, value in known.items() if value is not None}, by_name=True)


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
