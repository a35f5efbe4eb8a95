"""What a client was told of a run, against what is known elsewhere."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from gateway.domain.progress import Progress
from shared.contracts.errors import Problem
from shared.contracts.events import (
    EVENTS,
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
from shared.contracts.queries import NodeView, RunView
from shared.contracts.states import NodeStatus, RunStatus
from shared.contracts.values import TextValue

RUN = UUID(int=1)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ABOUT: dict[str, Any] = {"run_id": RUN, "node_id": "a", "node_type": "llm", "at": NOW}
ERROR = Problem(code="x", message="x")
STATUS_EVENTS = {
    NodeStatus.QUEUED: NodeQueued(**ABOUT),
    NodeStatus.RUNNING: NodeStarted(**ABOUT, worker="w"),
    NodeStatus.SUCCESS: NodeSucceeded(**ABOUT, output=TextValue(text="x")),
    NodeStatus.FAILED: NodeFailed(**ABOUT, error=ERROR),
    NodeStatus.SKIPPED: NodeSkipped(**ABOUT, because_of="b"),
    NodeStatus.CANCELLED: NodeCancelled(**ABOUT),
    NodeStatus.RETRYING: NodeRetrying(**ABOUT, error=ERROR, retry_at=NOW),
}
LASTING = NodeLasting(**ABOUT, started_at=NOW)
LATE = NodeLate(**ABOUT, outcome=NodeStatus.SUCCESS)
FINISHED = RunFinished(
    run_id=RUN, at=NOW, status=RunStatus.COMPLETED, total_nodes=1, successful_nodes=1, failed_nodes=0
)


def view(status=RunStatus.RUNNING, **nodes):
    views = (NodeView(node_id=key, node_type="llm", status=value[0], attempt=value[1]) for key, value in nodes.items())
    return RunView(run_id=RUN, status=status, created_at=NOW, nodes=tuple(views))


def started(**nodes):
    summaries = (NodeSummary(node_id=key, node_type="llm", status=status) for key, status in nodes.items())
    return RunStarted(run_id=RUN, at=NOW, nodes=tuple(summaries))


def queued(**nodes):
    return RunQueued.model_validate({**started(**nodes).model_dump(exclude={"kind"})})


def rejected(existing):
    return RunRejected(run_id=RUN, at=NOW, existing_run_id=existing, problem=ERROR)


def told(*updates):
    progress = Progress()
    for update in updates:
        progress.take(update)
    return progress


def test_a_client_lacks_nodes_it_never_heard_of():
    assert told(view()).lacks(view(a=(NodeStatus.PENDING, 1)))


def test_a_run_started_tells_all_its_nodes():
    progress = told(view(), started(a=NodeStatus.PENDING, b=NodeStatus.SUCCESS))
    assert not progress.lacks(view(a=(NodeStatus.PENDING, 1), b=(NodeStatus.SUCCESS, 1)))


def test_a_run_started_is_news_where_it_tells_more_of_a_node():
    pending = view(RunStatus.RUNNING, a=(NodeStatus.PENDING, 1))
    assert told(pending).is_news(started(a=NodeStatus.QUEUED))
    assert not told(pending).is_news(started(a=NodeStatus.PENDING))


@pytest.mark.parametrize("status", STATUS_EVENTS)
def test_an_event_tells_its_status(status):
    before = view(a=(NodeStatus.PENDING, 1))
    now = view(a=(status, 1))
    assert told(before).lacks(now)
    assert not told(before, STATUS_EVENTS[status]).lacks(now)


def test_a_tracker_that_lags_behind_adds_nothing():
    progress = told(view(a=(NodeStatus.PENDING, 1)), STATUS_EVENTS[NodeStatus.SUCCESS])
    assert not progress.lacks(view(a=(NodeStatus.QUEUED, 1)))


def test_a_late_event_does_not_undo_what_is_known():
    progress = told(view(a=(NodeStatus.SUCCESS, 1)), STATUS_EVENTS[NodeStatus.RUNNING])
    assert not progress.lacks(view(a=(NodeStatus.SUCCESS, 1)))


@pytest.mark.parametrize("end", [NodeStatus.FAILED, NodeStatus.SKIPPED])
def test_a_second_attempt_is_news_after_the_end_of_the_first(end):
    progress = told(view(), STATUS_EVENTS[end])
    assert progress.lacks(view(a=(NodeStatus.QUEUED, 2)))
    again = NodeQueued(**ABOUT, attempt=2)
    assert progress.is_news(again)
    progress.take(again)
    assert not progress.is_news(STATUS_EVENTS[end])


def test_an_end_that_was_not_told_is_lacking():
    assert told(view(a=(NodeStatus.SUCCESS, 1))).lacks(view(RunStatus.COMPLETED, a=(NodeStatus.SUCCESS, 1)))


@pytest.mark.parametrize(
    "end",
    [
        view(RunStatus.FAILED),
        FINISHED,
    ],
)
def test_a_run_ends_by_a_snapshot_or_an_event(end):
    progress = told(view(), end)
    assert progress.ended
    assert not progress.lacks(view(RunStatus.COMPLETED))


def test_every_event_can_be_told():
    samples = (*STATUS_EVENTS.values(), LASTING, LATE, FINISHED, queued(), started(), rejected(RUN))
    assert {type(sample) for sample in samples} == set(EVENTS)
    told(view(), *samples)


def test_a_job_that_lasts_is_known_to_be_running():
    assert not told(view(), LASTING).lacks(view(a=(NodeStatus.RUNNING, 1)))


def test_a_late_result_tells_nothing_of_its_node():
    progress = told(view(a=(NodeStatus.PENDING, 1)), LATE)
    assert progress.lacks(view(a=(NodeStatus.QUEUED, 1)))


@pytest.mark.parametrize("end", [NodeStatus.FAILED, NodeStatus.CANCELLED])
@pytest.mark.parametrize(
    "failed", [STATUS_EVENTS[NodeStatus.RETRYING], NodeFailed(**ABOUT, error=ERROR, retryable=True)]
)
def test_the_end_of_a_node_is_news_while_it_waits_for_another_attempt(failed, end):
    progress = told(view(), failed)
    assert not progress.lacks(view(a=(NodeStatus.RETRYING, 1)))
    assert progress.lacks(view(a=(end, 1)))
    progress.take(STATUS_EVENTS[end])
    assert not progress.lacks(view(a=(end, 1)))


def test_the_beginning_of_a_queued_run_is_news():
    progress = told(view(RunStatus.QUEUED), queued(a=NodeStatus.PENDING))
    assert not progress.lacks(view(RunStatus.QUEUED, a=(NodeStatus.PENDING, 1)))
    assert progress.lacks(view(RunStatus.RUNNING, a=(NodeStatus.PENDING, 1)))
    progress.take(started(a=NodeStatus.SUCCESS))
    assert not progress.lacks(view(RunStatus.RUNNING, a=(NodeStatus.SUCCESS, 1)))


def test_a_run_that_was_refused_ends_and_one_that_refused_another_goes_on():
    assert told(view(RunStatus.QUEUED), rejected(UUID(int=2))).ended
    assert not told(view(), rejected(RUN)).ended
