"""Run history: the same whatever the order of the events and however often they come."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from run_tracker.domain.records import NodeRecord, RunRecord, records_of
from shared.contracts.errors import Problem
from shared.contracts.messages import (
    NodeAttempt,
    NodeFailed,
    NodeQueued,
    NodeRetrying,
    NodeSkipped,
    NodeStarted,
    NodeSucceeded,
    NodeSummary,
    RunFinished,
    RunStarted,
)
from shared.contracts.states import NodeStatus, RunStatus
from shared.contracts.values import TextValue

RUN_ID = UUID(int=1)
LIMITED = Problem(code="llm_rate_limited", message="slow down")
T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds):
    return T0 + timedelta(seconds=seconds)


def about(node_id: str, attempt: int = 1) -> NodeAttempt:
    return NodeAttempt(run_id=RUN_ID, node_id=node_id, node_type="llm", attempt=attempt)


EVENTS = (
    RunStarted(
        run_id=RUN_ID,
        at=at(0),
        workflow_name="demo",
        nodes=(
            NodeSummary(node_id="say", node_type="text", status=NodeStatus.SUCCESS, output=TextValue(text="hello")),
            NodeSummary(node_id="ask", node_type="llm", status=NodeStatus.PENDING),
            NodeSummary(node_id="bad", node_type="llm", status=NodeStatus.PENDING),
            NodeSummary(node_id="after", node_type="llm", status=NodeStatus.PENDING),
        ),
    ),
    NodeQueued(**about("ask"), at=at(0)),
    NodeStarted(**about("ask"), at=at(0), worker="host:0"),
    NodeFailed(**about("ask"), at=at(0), error=LIMITED, retryable=True),
    NodeRetrying(**about("ask"), at=at(0), error=LIMITED, retry_at=at(1)),
    NodeQueued(**about("ask", 2), at=at(1)),
    NodeStarted(**about("ask", 2), at=at(2), worker="host:1"),
    NodeSucceeded(**about("ask", 2), at=at(3), output=TextValue(text="answer"), seconds=1.0),
    NodeQueued(**about("bad"), at=at(1)),
    NodeStarted(**about("bad"), at=at(2), worker="host:2"),
    NodeFailed(**about("bad"), at=at(4), error=Problem(code="llm_refused", message="no"), seconds=2.0),
    NodeSkipped(**about("after"), at=at(4), because_of="bad"),
    RunFinished(
        run_id=RUN_ID,
        at=at(4),
        status=RunStatus.PARTIAL,
        total_nodes=4,
        successful_nodes=2,
        failed_nodes=1,
        skipped_nodes=1,
        nodes={
            "say": NodeStatus.SUCCESS,
            "ask": NodeStatus.SUCCESS,
            "bad": NodeStatus.FAILED,
            "after": NodeStatus.SKIPPED,
        },
    ),
)


def told(events):
    merged = {}
    for event in events:
        for record in records_of(event):
            key = (type(record), getattr(record, "node_id", None))
            merged[key] = merged[key].merge(record) if key in merged else record
    return merged


IN_ORDER = told(EVENTS)
STARTED = next(event for event in EVENTS if isinstance(event, NodeStarted) and event.attempt == 2)
SUCCEEDED = next(event for event in EVENTS if isinstance(event, NodeSucceeded))


def test_in_order_everything_is_recorded():
    run = IN_ORDER[RunRecord, None]
    assert (run.status, run.created_at, run.finished_at) == (RunStatus.PARTIAL, at(0), at(4))
    assert (run.workflow_name, run.total_nodes, run.successful_nodes, run.failed_nodes) == ("demo", 4, 2, 1)
    ask = IN_ORDER[NodeRecord, "ask"]
    assert (ask.status, ask.queued_at, ask.started_at, ask.finished_at) == ("success", at(1), at(2), at(3))
    assert ask.attempt == 2
    assert (ask.worker, ask.output, ask.position) == ("host:1", TextValue(text="answer"), 1)
    assert IN_ORDER[NodeRecord, "bad"].error == Problem(code="llm_refused", message="no")
    assert IN_ORDER[NodeRecord, "after"].status is NodeStatus.SKIPPED


@given(st.permutations(EVENTS + EVENTS))
def test_any_order_and_repetition_tells_the_same(events):
    assert told(events) == IN_ORDER


@given(st.lists(st.sampled_from(EVENTS)))
def test_a_final_state_never_changes(events):
    finished = told([EVENTS[-1], *events])
    assert finished[RunRecord, None].status is RunStatus.PARTIAL
    assert finished[NodeRecord, "ask"].status is NodeStatus.SUCCESS


def test_an_attempt_that_may_be_followed_by_another_is_no_failure():
    waiting = told(event for event in EVENTS if getattr(event, "attempt", 1) == 1 and event is not EVENTS[-1])
    assert waiting[NodeRecord, "ask"].status is NodeStatus.RETRYING
    assert waiting[NodeRecord, "ask"].retry_at == at(1)


def test_a_late_event_fills_in_what_it_alone_knows_without_taking_the_state_back():
    late = told([SUCCEEDED, STARTED])[NodeRecord, "ask"]
    assert (late.status, late.started_at, late.worker) == (NodeStatus.SUCCESS, at(2), "host:1")
