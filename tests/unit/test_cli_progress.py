"""A run's progress: snapshots and events in, the newest state out."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from cli.progress import RunProgress
from shared.contracts.errors import Problem
from shared.contracts.events import (
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
    Usage,
)
from shared.contracts.queries import NodeView, RunView
from shared.contracts.states import NodeStatus, RunStatus
from shared.contracts.values import TextValue

RUN = UUID(int=1)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ABOUT: dict[str, Any] = {"run_id": RUN, "node_id": "a", "node_type": "llm", "at": NOW}
QUEUED = NodeQueued(**ABOUT)
STARTED = NodeStarted(**ABOUT, worker="w")
SUCCEEDED = NodeSucceeded(**ABOUT, output=TextValue(text="yes"), seconds=0.5)
ERROR = Problem(code="provider_error", message="no")


@pytest.fixture
def progress():
    node = NodeView(node_id="a", node_type="llm", status=NodeStatus.PENDING)
    return RunProgress(RunView(run_id=RUN, status=RunStatus.RUNNING, created_at=NOW, nodes=(node,)))


def test_a_node_goes_through_its_states(progress):
    seen = []
    for event in (QUEUED, STARTED, SUCCEEDED):
        seen += [node.status for node in progress.take(event)]
    assert seen == ["queued", "running", "success"]
    assert progress.nodes["a"].output == TextValue(text="yes")


def test_an_event_of_an_earlier_moment_changes_nothing(progress):
    progress.take(SUCCEEDED)
    for late in (QUEUED, STARTED, SUCCEEDED):
        assert progress.take(late) == []
    assert progress.nodes["a"].status is NodeStatus.SUCCESS


def test_a_failure_that_is_tried_again_is_followed_by_the_next_attempt(progress):
    progress.take(NodeFailed(**ABOUT, error=ERROR, retryable=True))
    assert progress.nodes["a"].status is NodeStatus.RETRYING
    progress.take(NodeQueued(**ABOUT, attempt=2))
    assert (progress.nodes["a"].status, progress.nodes["a"].attempt) == (NodeStatus.QUEUED, 2)
    progress.take(NodeSucceeded(**ABOUT, attempt=2, output=TextValue(text="")))
    assert progress.nodes["a"].error is None


def test_the_orchestrators_word_that_another_attempt_follows_is_an_event(progress):
    progress.take(NodeRetrying(**ABOUT, error=ERROR, retry_at=NOW))
    assert progress.nodes["a"].status is NodeStatus.RETRYING
    assert progress.nodes["a"].retry_at == NOW


def test_failed_and_skipped_nodes(progress):
    progress.take(NodeFailed(**ABOUT, error=ERROR))
    assert (progress.nodes["a"].status, progress.nodes["a"].error) == (NodeStatus.FAILED, ERROR)
    skipped = RunProgress(
        progress.run.model_copy(update={"nodes": (NodeView(node_id="a", status=NodeStatus.PENDING),)})
    )
    skipped.take(NodeSkipped(**ABOUT, because_of="b"))
    assert skipped.nodes["a"].status is NodeStatus.SKIPPED


@pytest.mark.parametrize("end", [NodeFailed(**ABOUT, error=ERROR), NodeSkipped(**ABOUT, because_of="b")])
def test_a_node_that_was_replayed_goes_through_its_states_once_more(progress, end):
    progress.take(end)
    assert progress.take(QUEUED) == []
    seen = [progress.take(event.model_copy(update={"attempt": 2}))[0].status for event in (QUEUED, STARTED, SUCCEEDED)]
    assert seen == ["queued", "running", "success"]
    assert progress.take(end) == []


def test_the_start_brings_nodes_and_the_end_their_final_states():
    progress = RunProgress(RunView(run_id=RUN, status=RunStatus.QUEUED, created_at=NOW))
    summary = NodeSummary(node_id="a", node_type="llm", status=NodeStatus.PENDING)
    assert len(progress.take(RunStarted(run_id=RUN, at=NOW, nodes=(summary,)))) == 1
    assert progress.run.status is RunStatus.RUNNING
    assert not progress.has_ended
    counts: dict[str, Any] = {"total_nodes": 1, "successful_nodes": 1, "failed_nodes": 0}
    nodes = {"a": NodeStatus.SUCCESS}
    progress.take(RunFinished(run_id=RUN, at=NOW, status=RunStatus.COMPLETED, nodes=nodes, **counts))
    assert progress.has_ended
    assert progress.nodes["a"].status is NodeStatus.SUCCESS


def test_a_snapshot_replaces_what_is_known(progress):
    node = NodeView(node_id="a", node_type="llm", status=NodeStatus.RUNNING)
    view = progress.run.model_copy(update={"nodes": (node,)})
    assert progress.take(view) == [node]
    assert progress.take(view) == []


def test_an_event_about_a_node_that_is_not_known_changes_nothing(progress):
    assert progress.take(NodeQueued(run_id=RUN, node_id="z", node_type="llm", at=NOW)) == []


def test_a_cached_success_says_so(progress):
    progress.take(NodeSucceeded(**ABOUT, output=TextValue(text="yes"), cached=True))
    assert progress.nodes["a"].cached


def test_a_job_that_lasts_runs_since_it_was_taken(progress):
    progress.take(NodeLasting(**ABOUT, started_at=NOW))
    assert (progress.nodes["a"].status, progress.nodes["a"].started_at) == (NodeStatus.RUNNING, NOW)


@pytest.mark.parametrize(
    ("end", "status"),
    [(NodeCancelled(**ABOUT), NodeStatus.CANCELLED), (NodeFailed(**ABOUT, error=ERROR), NodeStatus.FAILED)],
)
def test_a_node_that_waits_for_another_attempt_can_end(progress, end, status):
    progress.take(NodeFailed(**ABOUT, error=ERROR, retryable=True))
    progress.take(end)
    assert progress.nodes["a"].status is status


def test_the_time_of_the_next_attempt_is_news_of_a_failed_one(progress):
    progress.take(NodeFailed(**ABOUT, error=ERROR, retryable=True))
    assert progress.take(NodeRetrying(**ABOUT, error=ERROR, retry_at=NOW))
    assert progress.take(NodeRetrying(**ABOUT, error=ERROR, retry_at=NOW)) == []
    assert progress.nodes["a"].retry_at == NOW


def test_a_late_result_is_noted_once_and_changes_nothing(progress):
    usage = Usage(model="m", input_tokens=1)
    late = NodeLate(**ABOUT, outcome=NodeStatus.SUCCESS, usage=usage)
    assert len(progress.take(late)) == 1
    assert progress.take(late) == []
    assert (progress.nodes["a"].status, len(progress.nodes["a"].late)) == (NodeStatus.PENDING, 1)


def test_a_queued_run_has_nodes_and_begins_later():
    progress = RunProgress(RunView(run_id=RUN, status=RunStatus.QUEUED, created_at=NOW))
    pending = NodeSummary(node_id="a", node_type="text", status=NodeStatus.PENDING)
    assert len(progress.take(RunQueued(run_id=RUN, at=NOW, nodes=(pending,)))) == 1
    assert progress.run.status is RunStatus.QUEUED
    done = pending.model_copy(update={"status": NodeStatus.SUCCESS, "output": TextValue(text="x")})
    assert [node.status for node in progress.take(RunStarted(run_id=RUN, at=NOW, nodes=(done,)))] == ["success"]
    assert progress.take(RunStarted(run_id=RUN, at=NOW, nodes=(pending,))) == []


@pytest.mark.parametrize(("existing", "refusal"), [(UUID(int=2), ERROR), (RUN, None)])
def test_a_run_is_refused_where_its_name_belongs_to_another(progress, existing, refusal):
    progress.take(RunRejected(run_id=RUN, at=NOW, existing_run_id=existing, problem=ERROR))
    assert progress.refusal == refusal
