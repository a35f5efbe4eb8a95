"""Run history: the same whatever the order of the events and however often they come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.histories import (
    COMMAND,
    CRASHED,
    EVENTS,
    FINISHED,
    LIMITED,
    NODES,
    OLD_RUN_ID,
    QUEUED,
    RUN_ID,
    STARTED,
    TIMEOUT,
    USAGE,
    VIEWS,
    History,
    about,
    at,
    begun,
    late,
    succeeded,
)

from run_tracker.domain.records import ended_rank, final_rank, given_up_rank, node_rank
from shared.contracts.envelope import NodeMessage
from shared.contracts.errors import Problem
from shared.contracts.events import (
    NodeCancelled,
    NodeFailed,
    NodeLasting,
    NodeQueued,
    NodeRetrying,
    NodeSkipped,
    RunRejected,
)
from shared.contracts.run_options import Scope
from shared.contracts.states import NodeStatus, RunStatus
from shared.contracts.values import TextValue

IN_ORDER = History(EVENTS)
GIVEN_UP = NodeRetrying(**about("n"), at=at(20), error=TIMEOUT, retry_at=at(25))
LIMITED_ONCE = NodeFailed(**about("n"), at=at(3), error=LIMITED, retryable=True, seconds=1.0, usage=USAGE)

REPLAYED = (
    *begun("n", 1, attempt=3),
    NodeFailed(**about("n", 3), at=at(9), error=CRASHED),
    NodeQueued(**about("n", 4), at=at(20)),
    NodeSkipped(**about("m"), at=at(9), because_of="n"),
    *begun("m", 30, attempt=2),
)


def node(*events):
    """What is known of a node after events, which is the same in the opposite order."""
    known = History(events).node("n")
    assert History(*([event] for event in reversed(events))).node("n") == known
    return known


def run_status(*batches):
    run = History(*batches).run
    assert run
    return run.status


def test_of_a_run_all_is_recorded():
    run = IN_ORDER.run
    assert run
    assert (run.status, run.created_at, run.finished_at, run.workflow_name) == ("cancelled", at(0), at(60), "demo")
    assert (run.total_nodes, run.successful_nodes, run.failed_nodes) == (15, 9, 2)
    assert (run.skipped_nodes, run.cancelled_nodes, run.cached_nodes) == (1, 3, 3)
    assert (run.tokens, run.cost) == (90, 0.06)
    assert (run.resumed_from, run.scope, run.command) == (OLD_RUN_ID, Scope.SELECTED, COMMAND)


@pytest.mark.parametrize("expected", VIEWS, ids=[view.node_id for view in VIEWS])
def test_of_a_node_what_its_status_chooses_is_shown(expected):
    assert IN_ORDER.node(expected.node_id) == expected


@given(st.permutations(EVENTS * 3), st.integers(1, 200))
def test_any_order_repetition_and_batching_tells_the_same(events, size):
    batches = [events[start : start + size] for start in range(0, len(events), size)]
    history = History(*batches)
    assert history.run == IN_ORDER.run
    assert history.nodes == VIEWS


@given(st.lists(st.sampled_from(EVENTS)))
def test_after_the_final_word_no_status_changes(events):
    batches = [FINISHED], *([event] for event in events)
    history = History(*batches)
    assert run_status(*batches) is RunStatus.CANCELLED
    assert {node.node_id: node.status for node in history.nodes} == FINISHED.nodes


@given(st.permutations([event for event in EVENTS if event != FINISHED]))
def test_what_the_orchestrator_ended_stays_ended_before_the_final_word_too(events):
    history = History(events)
    for node_id in set(NODES) - {"twice"}:  # only the final word says which of its workers was in time
        assert history.node(node_id).status is FINISHED.nodes[node_id]


def test_a_queued_run_is_known_and_begins_once():
    assert run_status([QUEUED]) is RunStatus.QUEUED
    assert {node.status for node in History([QUEUED]).nodes} == {NodeStatus.PENDING}
    assert run_status([STARTED], [QUEUED]) is RunStatus.RUNNING


def test_a_refused_start_touches_nothing():
    refusal = RunRejected(
        run_id=RUN_ID, at=at(5), existing_run_id=OLD_RUN_ID, problem=Problem(code="trigger_conflict", message="taken")
    )
    assert History([refusal]).run is None
    assert History(EVENTS, [refusal]).run == IN_ORDER.run


def test_an_attempt_that_may_be_followed_by_another_is_no_failure():
    known = node(*begun("n", 1), LIMITED_ONCE)
    assert (known.status, known.error, known.finished_at) == (NodeStatus.RETRYING, LIMITED, None)
    known = node(*begun("n", 1), LIMITED_ONCE, GIVEN_UP.model_copy(update={"error": LIMITED}))
    assert (known.retry_at, known.error, known.usage, known.seconds) == (at(25), LIMITED, USAGE, 1.0)


@pytest.mark.parametrize(
    "result",
    [
        succeeded("n", 22, "too late"),
        NodeFailed(**about("n"), at=at(22), error=LIMITED, usage=USAGE),
        LIMITED_ONCE,
    ],
    ids=lambda result: result.message_id,
)
def test_the_late_result_of_an_attempt_that_was_given_up_decides_nothing(result):
    known = node(*begun("n", 1), GIVEN_UP, result)
    assert (known.status, known.error, known.retry_at) == (NodeStatus.RETRYING, TIMEOUT, at(25))
    assert (known.output, known.finished_at, known.usage) == (None, None, None)
    known = node(*begun("n", 1), GIVEN_UP, result, *begun("n", 25, attempt=2))
    assert (known.status, known.attempt, known.started_at) == (NodeStatus.RUNNING, 2, at(26))
    assert (known.error, known.retry_at, known.output) == (None, None, None)


def test_a_late_result_of_a_cancelled_node_is_not_its_output():
    known = node(*begun("n", 1), NodeCancelled(**about("n"), at=at(5)), succeeded("n", 6, "too late"), late("n", 6))
    assert (known.status, known.finished_at, known.output, known.usage) == (NodeStatus.CANCELLED, at(5), None, None)
    assert [late.outcome for late in known.late] == [NodeStatus.SUCCESS]


def test_a_run_that_times_out_fails_also_a_node_that_waits_for_its_next_attempt():
    expired = NodeFailed(**about("n"), at=at(24), error=Problem(code="run_timeout", message="too long"))
    word = FINISHED.model_copy(update={"nodes": {"n": NodeStatus.FAILED}})
    known = node(*begun("n", 1), LIMITED_ONCE, GIVEN_UP, expired, word)
    assert (known.status, known.error, known.finished_at) == (NodeStatus.FAILED, expired.error, at(24))


@given(st.permutations(REPLAYED * 2), st.integers(0, len(REPLAYED) * 2))
def test_a_later_attempt_overtakes_every_end_of_an_earlier_one(events, size):
    history = History(events[:size], events[size:])
    failed, skipped = history.node("n"), history.node("m")
    assert (failed.status, failed.attempt, failed.error) == (NodeStatus.QUEUED, 4, None)
    assert [attempt.status for attempt in failed.attempts] == [NodeStatus.FAILED, NodeStatus.QUEUED]
    assert failed.attempts[0].error == CRASHED
    assert (skipped.status, skipped.attempt, skipped.finished_at) == (NodeStatus.RUNNING, 2, None)


@given(st.sampled_from(NodeStatus), st.integers(0, 500), st.integers(1, 500))
def test_attempts_come_before_states_and_the_last_word_before_both(status, attempt, more):
    ends = (NodeStatus.SUCCESS, NodeStatus.SKIPPED, NodeStatus.CANCELLED)
    told = [
        node_rank(other, attempt) for other in NodeStatus if other not in {NodeStatus.SKIPPED, NodeStatus.CANCELLED}
    ]
    decided = [given_up_rank(attempt), *(ended_rank(end, attempt) for end in ends)]
    assert max(told) < min(decided)
    assert max(decided) < node_rank(NodeStatus.PENDING, attempt + more) < final_rank(status)


def test_a_lasting_job_is_running_even_if_nobody_told_who_has_it():
    lasting = NodeLasting(**about("n"), at=at(3), started_at=at(2))
    known = node(begun("n", 1)[0], lasting)
    assert (known.status, known.started_at, known.worker) == (NodeStatus.RUNNING, at(2), None)
    known = node(*begun("n", 0.5), lasting)
    assert (known.started_at, known.worker) == (at(1.5), "host:1")


def test_of_two_results_of_one_attempt_the_first_is_shown_as_a_whole():
    known = node(*begun("n", 1), succeeded("n", 3, "first"), succeeded("n", 4, "second"))
    assert (known.output, known.finished_at) == (TextValue(text="first"), at(3))


def test_a_late_event_fills_in_what_it_alone_knows_without_taking_the_state_back():
    started = begun("n", 1)[1]
    known = node(succeeded("n", 3, "answer"), started)
    assert (known.status, known.started_at, known.worker) == (NodeStatus.SUCCESS, at(2), "host:1")


def test_every_event_about_a_node_makes_it_known():
    for event in EVENTS:
        if isinstance(event, NodeMessage) and event.kind != "node.late":
            assert History([event]).node(event.node_id).node_type == "llm"
