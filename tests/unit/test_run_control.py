"""What ends or bounds a run besides its own work: timeouts, cancellation, budgets, windows, limits, scopes, reuse."""

from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core import NOW, RUN_ID, Core, ask, chain, failed, job, started, succeeded, wide

from orchestrator.domain.change import JOBS_IN_OWN_LANE
from orchestrator.domain.timers import GRACE, TURNS, expiry, timers_of, unconfirmed
from shared.contracts.commands import (
    NodeAbandon,
    NodeExecute,
    NodeExpire,
    NodeRetry,
    RunAdmit,
    RunCancel,
    RunExpire,
)
from shared.contracts.events import (
    NodeCancelled,
    NodeFailed,
    NodeLasting,
    NodeLate,
    NodeRetrying,
    NodeSkipped,
    RunFinished,
    RunQueued,
    RunRejected,
    RunStarted,
    Usage,
)
from shared.contracts.graph import Edge, Node, WorkflowGraph
from shared.contracts.retries import RetryPolicy
from shared.contracts.run_options import Budget, Concurrency, Lane, Priority, RunOptions, Scope
from shared.contracts.states import NodeStatus, RunStatus
from shared.contracts.values import TextValue

LATER = NOW + timedelta(seconds=30)
ONCE = RetryPolicy(max_attempts=1)
CANCEL = RunCancel(run_id=RUN_ID, reason="enough")


def options(**fields):
    return RunOptions(**fields)


def expire(core, node_id):
    return core.deliver(expiry(core.state, node_id, NOW))


def lasting(core, node_id):
    return core.deliver(NodeLasting(**job(core, node_id).about, at=LATER, started_at=NOW))


# Timeouts


def test_the_timeout_of_an_attempt_counts_from_when_a_worker_has_it():
    core = started(wide(1, timeout=20))
    assert [type(timer.message) for timer in timers_of(core.state)] == [RunExpire]
    assert lasting(core, "n0").messages == ()
    _, timer = timers_of(core.state)
    assert isinstance(timer.message, NodeExpire)
    assert timer.due == NOW + timedelta(seconds=20 + GRACE)
    assert lasting(core, "n0").event is None


def test_an_attempt_whose_time_is_over_is_given_up_and_made_again():
    core = started(wide(1))
    delivered = expire(core, "n0")
    (retrying,) = delivered.of(NodeRetrying)
    assert retrying.error.code == "node_timeout"
    assert [abandon.message_id for abandon in delivered.of(NodeAbandon)] == [f"{RUN_ID}/n0/1/node.abandon"]
    again = expire(core, "n0")
    assert (again.event, again.messages) == (None, delivered.messages)


def test_an_only_attempt_whose_time_is_over_fails_its_node():
    core = started(chain("a", "b", retry=ONCE))
    delivered = expire(core, "a")
    assert [failure.error.code for failure in delivered.of(NodeFailed)] == ["node_timeout"]
    assert core.statuses() == {"a": NodeStatus.FAILED, "b": NodeStatus.SKIPPED}


def test_a_result_that_comes_after_its_attempt_was_given_up_changes_nothing_and_is_told_as_late():
    core = started(wide(1))
    first = job(core, "n0")
    expire(core, "n0")
    usage = Usage(model="m", input_tokens=3, output_tokens=4)
    delivered = core.deliver(succeeded(first, usage=usage))
    assert delivered.event is None
    (late,) = delivered.messages
    assert isinstance(late, NodeLate)
    assert (late.attempt, late.outcome, late.usage) == (1, NodeStatus.SUCCESS, usage)
    assert core.deliver(succeeded(first, usage=usage), now=LATER).messages == (late,)  # equal, so recorded once
    assert core.state.nodes["n0"].status is NodeStatus.RETRYING
    assert core.state.tokens == 0


def test_a_job_that_nobody_tells_of_for_longer_than_it_may_take_is_unconfirmed():
    core = started(wide(2, timeout=10))
    lasting(core, "n1")
    in_hand = timedelta(seconds=10 * TURNS + GRACE)
    assert list(unconfirmed(core.state, NOW + in_hand)) == []
    assert list(unconfirmed(core.state, NOW + in_hand + timedelta(seconds=1))) == ["n0"]


def test_a_run_whose_time_is_over_fails_what_is_open_and_keeps_what_has_succeeded():
    core = started(chain("a", "b", "c"), options=options(timeout=60))
    core.deliver(succeeded(job(core, "a")))
    (timer,) = timers_of(core.state)
    assert timer.due == NOW + timedelta(seconds=60)
    delivered = core.deliver(timer.message)
    assert core.statuses() == {"a": NodeStatus.SUCCESS, "b": NodeStatus.FAILED, "c": NodeStatus.SKIPPED}
    assert [failure.error.code for failure in delivered.of(NodeFailed)] == ["run_timeout"]
    assert [abandon.node_id for abandon in delivered.of(NodeAbandon)] == ["b"]
    (finished,) = delivered.of(RunFinished)
    assert finished.status is RunStatus.PARTIAL
    assert list(timers_of(core.state)) == []


@pytest.mark.parametrize("retrying", [False, True])
def test_a_run_whose_time_is_over_also_fails_nodes_that_wait_to_be_tried_again(retrying):
    core = started(wide(2), options=options(max_in_flight=1))
    if retrying:
        core.deliver(failed(job(core, "n0"), retryable=True))
    core.deliver(RunExpire(run_id=RUN_ID, at=LATER))
    assert set(core.statuses().values()) == {NodeStatus.FAILED}


# Cancellation


def test_a_cancelled_run_keeps_what_has_succeeded_and_tells_workers_to_stop():
    core = started(chain("a", "b", "c"))
    core.deliver(succeeded(job(core, "a")))
    delivered = core.deliver(CANCEL)
    assert core.statuses() == {"a": NodeStatus.SUCCESS, "b": NodeStatus.CANCELLED, "c": NodeStatus.CANCELLED}
    assert {message.node_id for message in delivered.of(NodeCancelled)} == {"b", "c"}
    assert [message.node_id for message in delivered.of(NodeAbandon)] == ["b"]
    (finished,) = delivered.of(RunFinished)
    assert (finished.status, finished.successful_nodes, finished.cancelled_nodes) == (RunStatus.CANCELLED, 1, 2)


def test_a_repeated_cancellation_tells_the_same_again_and_a_late_one_nothing():
    core = started(wide(2))
    first, again = core.deliver(CANCEL), core.deliver(CANCEL, now=LATER)
    assert again.event is None
    assert {message.message_id for message in again.messages} == {message.message_id for message in first.messages}
    done = Core(wide(1)).run()
    assert (done.deliver(CANCEL).event, done.deliver(CANCEL).messages) == (None, ())


def test_a_result_after_the_cancellation_is_late():
    core = started(wide(1))
    core.deliver(CANCEL)
    assert [type(message) for message in core.deliver(succeeded(job(core, "n0"))).messages] == [NodeLate]


def test_a_node_that_waits_to_be_tried_again_is_cancelled_and_its_timer_is_without_effect():
    core = started(wide(1))
    core.deliver(failed(job(core, "n0"), retryable=True))
    core.deliver(CANCEL)
    assert core.statuses() == {"n0": NodeStatus.CANCELLED}
    retry = NodeRetry(run_id=RUN_ID, node_id="n0", node_type="llm", attempt=2, at=NOW)
    assert (core.deliver(retry).event, core.deliver(retry).messages) == (None, ())


# Budgets


@pytest.mark.parametrize("budget", [Budget(max_tokens=10), Budget(max_cost=0.5)])
def test_a_reached_budget_fails_further_model_nodes_and_lets_the_rest_go_on(budget):
    crop = Node(id="crop", type="response")
    graph = chain("a", "b", "c")
    graph = WorkflowGraph(
        nodes=(*graph.nodes, crop, ask("d")),
        edges=(*graph.edges, Edge(source="a", target="crop", target_handle="seen")),
    )
    core = started(graph, options=options(budget=budget))
    usage = Usage(model="m", input_tokens=4, output_tokens=6, cost=0.5)
    delivered = core.deliver(succeeded(job(core, "a"), usage=usage))
    assert [failure.error.code for failure in delivered.of(NodeFailed)] == ["budget_exceeded"]
    core.deliver(succeeded(job(core, "d"), usage=usage))
    assert core.statuses() == {
        "a": NodeStatus.SUCCESS,
        "b": NodeStatus.FAILED,
        "c": NodeStatus.SKIPPED,
        "crop": NodeStatus.SUCCESS,
        "d": NodeStatus.SUCCESS,
    }
    (finished,) = core.told(RunFinished)
    assert (finished.tokens, finished.cost) == (20, 1.0)


def test_what_a_failed_attempt_cost_counts_and_stops_the_next_attempt():
    core = started(wide(1), options=options(budget=Budget(max_tokens=5)))
    core.deliver(failed(job(core, "n0"), retryable=True, usage=Usage(model="m", input_tokens=9)))
    core.deliver(NodeRetry(run_id=RUN_ID, node_id="n0", node_type="llm", attempt=2, at=NOW))
    assert core.state.nodes["n0"].error
    assert core.state.nodes["n0"].error.code == "budget_exceeded"
    assert core.state.status is RunStatus.FAILED


def test_a_budget_of_nothing_asks_no_model():
    core = started(wide(3), options=options(budget=Budget(max_cost=0)))
    assert core.jobs() == []
    assert core.state.status is RunStatus.FAILED


# The window, lanes, concurrency


@given(st.integers(1, 8), st.integers(0, 100))
def test_no_more_nodes_are_in_flight_than_the_window_has_places(window, seed):
    core = Core(wide(20), options=options(window=window))
    order, most = [core.command], 0
    while order:
        delivered = core.deliver(order.pop(seed % len(order)))
        most = max(most, core.state.in_flight)
        order += [succeeded(item) for item in delivered.of(NodeExecute)]
    assert most == window
    assert core.jobs() == [f"n{number}" for number in range(20)]
    assert core.state.status is RunStatus.COMPLETED


def test_a_node_that_lasts_makes_room_for_the_next_up_to_the_limit():
    core = started(wide(10), options=options(window=2, max_in_flight=4))
    assert core.jobs() == ["n0", "n1"]
    delivered = lasting(core, "n0")
    assert [message.node_id for message in delivered.of(NodeExecute)] == ["n2"]
    lasting(core, "n1")
    assert core.state.in_flight == 4
    assert lasting(core, "n2").of(NodeExecute) == []
    core.deliver(succeeded(job(core, "n0")))
    assert core.jobs() == ["n0", "n1", "n2", "n3", "n4"]
    for number in range(1, 10):
        core.deliver(succeeded(job(core, f"n{number}")))
    assert (core.state.in_flight, core.state.lasting, core.state.status) == (0, 0, RunStatus.COMPLETED)


def test_a_retry_waits_for_a_place_like_any_other():
    core = started(wide(3), options=options(max_in_flight=1))
    core.deliver(failed(job(core, "n0"), retryable=True))
    core.deliver(NodeRetry(run_id=RUN_ID, node_id="n0", node_type="llm", attempt=2, at=NOW))
    assert core.jobs() == ["n0", "n1"]
    core.deliver(succeeded(job(core, "n1")))
    core.deliver(succeeded(job(core, "n2")))
    assert core.jobs() == ["n0", "n1", "n2", "n0"]
    assert job(core, "n0").attempt == 2


@pytest.mark.parametrize(
    ("priority", "first", "others"),
    [
        (Priority.HIGH, Lane.HIGH, Lane.NORMAL),
        (Priority.NORMAL, Lane.NORMAL, Lane.LOW),
        (Priority.LOW, Lane.LOW, Lane.LOW),
    ],
)
def test_a_large_run_leaves_its_lane_to_small_ones(priority, first, others):
    core = started(wide(10), options=options(priority=priority, window=8))
    lanes = [message.lane for message in core.told(NodeExecute)]
    assert lanes == [first] * JOBS_IN_OWN_LANE + [others] * (8 - JOBS_IN_OWN_LANE)
    # A place in the run's own lane is taken again, so that workers that prefer it have always something to do.
    for node_id, lane in (("n0", first), ("n7", others)):
        core.deliver(succeeded(job(core, node_id)))
        assert core.told(NodeExecute)[-1].lane is lane


def test_a_run_with_a_concurrency_key_waits_until_it_is_admitted():
    core = Core(wide(1), options=options(concurrency=Concurrency(key="k")))
    assert [type(message) for message in core.start().messages] == [RunQueued]
    assert core.state.status is RunStatus.QUEUED
    admit = RunAdmit(run_id=RUN_ID, at=LATER)
    admitted, again = core.deliver(admit), core.deliver(admit)
    assert admitted.of(RunStarted)
    assert admitted.of(NodeExecute)
    assert (again.event, again.messages) == (None, admitted.messages)
    repeated = core.start()
    assert (repeated.event, repeated.messages) == (None, ())


def test_a_run_that_waits_for_its_turn_can_be_cancelled():
    core = Core(wide(1), options=options(concurrency=Concurrency(key="k")))
    core.start()
    core.deliver(CANCEL)
    assert core.told(RunFinished)[0].status is RunStatus.CANCELLED
    assert core.deliver(RunAdmit(run_id=RUN_ID, at=LATER)).messages == ()


def test_an_admission_of_a_run_that_goes_on_already_changes_nothing():
    core = started(wide(1))
    delivered = core.deliver(RunAdmit(run_id=RUN_ID, at=LATER))
    assert (delivered.event, delivered.messages) == (None, ())


# Scopes and given outputs


def test_only_selected_nodes_are_executed_and_given_outputs_stand_for_the_others():
    given_outputs = {"a": TextValue(text="from before")}
    core = Core(chain("a", "b", "c"), scope=Scope.SINGLE, selected=("b",), given=given_outputs).run()
    assert core.jobs() == ["b"]
    assert core.statuses() == {"a": NodeStatus.SUCCESS, "b": NodeStatus.SUCCESS}
    (finished,) = core.told(RunFinished)
    assert (finished.status, finished.total_nodes, finished.cached_nodes) == (RunStatus.COMPLETED, 2, 1)
    (run_started,) = core.told(RunStarted)
    assert [(node.node_id, node.cached) for node in run_started.nodes] == [("a", True), ("b", False)]
    assert job(core, "b").inputs["texts"][0].value == given_outputs["a"]


def test_what_a_selection_lacks_is_named_and_nothing_runs():
    core = started(chain("a", "b", "c"), scope=Scope.SELECTED, selected=("b", "c"))
    (finished,) = core.told(RunFinished)
    assert [(problem.code, problem.node_id) for problem in finished.problems] == [("missing_output", "a")]
    assert core.jobs() == []


def test_in_a_whole_run_given_nodes_are_not_executed_again():
    core = Core(chain("a", "b", "c"), given={"a": TextValue(text="x"), "b": TextValue(text="y")}).run()
    assert core.jobs() == ["c"]
    assert core.state.status is RunStatus.COMPLETED


# Repetitions and the rest


def test_the_same_start_again_is_a_repetition_and_another_one_is_refused():
    core = started(wide(1))
    assert core.start().of(NodeExecute)
    delivered = core.deliver(core.command.model_copy(update={"graph": wide(2)}))
    (refused,) = delivered.messages
    assert isinstance(refused, RunRejected)
    assert (refused.problem.code, refused.existing_run_id) == ("run_conflict", RUN_ID)
    assert core.jobs() == ["n0", "n0"]


def test_the_digest_of_a_start_does_not_depend_on_the_order_of_keys():
    inputs = {name: TextValue(text=name) for name in ("one", "two", "three")}
    first = Core(wide(1), inputs=inputs).command
    assert first.digest == Core(wide(1), inputs=dict(reversed(inputs.items()))).command.digest


def test_a_replay_begins_with_the_same_nodes_whatever_the_order_of_given_outputs():
    graph = chain("a", "b", "c")
    given_outputs = {name: TextValue(text=name) for name in ("b", "a")}
    core = started(graph, given=given_outputs)
    permuted = core.command.model_copy(update={"given": dict(reversed(given_outputs.items()))})
    other = started(graph, given=permuted.given)
    assert other.state.ready == core.state.ready
    assert other.jobs() == core.jobs()


def test_a_job_that_a_worker_is_known_to_have_is_not_published_again():
    core = started(wide(1))
    lasting(core, "n0")
    assert core.start().of(NodeExecute) == []


def test_a_later_worker_of_the_same_attempt_has_the_whole_timeout():
    core = started(wide(1, timeout=20))
    lasting(core, "n0")
    again = NodeLasting(**job(core, "n0").about, at=LATER, started_at=LATER)
    core.deliver(again, now=LATER)
    _, timer = timers_of(core.state)
    assert timer.due == LATER + timedelta(seconds=20 + GRACE)


def test_an_error_that_is_never_to_be_retried_is_final_and_told_as_final():
    core = started(wide(1, retry=RetryPolicy(never=("llm_busy",))))
    delivered = core.deliver(failed(job(core, "n0"), code="llm_busy", retryable=True))
    assert [(told.error.code, told.retryable) for told in delivered.of(NodeFailed)] == [("llm_busy", False)]
    assert core.state.status is RunStatus.FAILED


def test_the_digest_of_a_start_tells_contents_apart_and_not_run_ids():
    command = Core(wide(1)).command
    assert command.digest == command.model_copy(update={"run_id": UUID(int=9)}).digest
    assert command.digest != command.model_copy(update={"graph": wide(2)}).digest


def test_skipped_nodes_name_what_they_were_waiting_for():
    core = started(chain("a", "b", "c"))
    core.deliver(failed(job(core, "a")))
    assert [(skip.node_id, skip.because_of) for skip in core.told(NodeSkipped)] == [("b", "a"), ("c", "b")]
