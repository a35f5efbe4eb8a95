"""A person's word brings a failed node of an open run back, with all that was skipped because of it alone."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core import NOW, RUN_ID, Core, ask, chain, failed, succeeded
from tests.unit.test_orchestrator_core import graphs

from orchestrator.domain.cache import cache_key
from orchestrator.domain.evolve import UnknownNodeError
from orchestrator.domain.timers import expiry
from orchestrator.domain.why import Explainer
from shared.contracts.commands import NodeExecute, NodeReplay, NodeRetry, RunCancel, RunExpire
from shared.contracts.envelope import NodeAttempt
from shared.contracts.events import (
    NodeCancelled,
    NodeFailed,
    NodeLasting,
    NodeLate,
    NodeQueued,
    NodeRetrying,
    NodeSkipped,
    NodeSucceeded,
    RunFinished,
    Usage,
)
from shared.contracts.graph import Edge, Node, WorkflowGraph
from shared.contracts.retries import RetryPolicy
from shared.contracts.run_options import Budget, RunOptions
from shared.contracts.states import FINAL_NODE_STATUSES, NodeStatus, RunStatus
from shared.contracts.values import TextValue

PENDING, QUEUED, SUCCESS = NodeStatus.PENDING, NodeStatus.QUEUED, NodeStatus.SUCCESS
FAILED, SKIPPED = NodeStatus.FAILED, NodeStatus.SKIPPED
MOST_FAILURES = 5
TWICE = RetryPolicy(max_attempts=2)


def edges(*pairs):
    return tuple(Edge(source=source, target=target, target_handle="texts") for source, target in pairs)


# Two branches that meet, something behind that, and a branch beside it that keeps the run open.
DIAMOND = WorkflowGraph(
    nodes=tuple(ask(node_id, retry=TWICE) for node_id in ("left", "right", "join", "after", "slow")),
    edges=edges(("left", "join"), ("right", "join"), ("join", "after")),
)
OPEN = WorkflowGraph(nodes=(*chain("a", "b", "c").nodes, ask("slow")), edges=chain("a", "b", "c").edges)


def begun(graph=DIAMOND, **start):
    core = Core(graph, **start)
    core.start()
    return core


def job(core, node_id):
    return [message for message in core.told(NodeExecute) if message.node_id == node_id][-1]


def replay(core, node_id, *, attempt=None, **fields):
    word = NodeReplay(**core.state.attempt_at(node_id), **fields)
    return core.deliver(word.model_copy(update={"attempt": attempt or word.attempt}))


def about(node_id, attempt):
    return NodeAttempt(run_id=RUN_ID, node_id=node_id, node_type="llm", attempt=attempt)


def crash(core, *node_ids):
    for node_id in node_ids:
        core.deliver(job(core, node_id))


def succeed(core, *node_ids):
    for node_id in node_ids:
        core.deliver(succeeded(job(core, node_id)))


def attempts(core):
    return {node_id: (node.status, node.attempt) for node_id, node in core.state.nodes.items()}


def test_a_dead_job_that_is_replayed_is_queued_again_and_what_was_skipped_waits_again():
    core = begun()
    crash(core, "left")
    assert core.statuses() == {"left": FAILED, "right": QUEUED, "join": SKIPPED, "after": SKIPPED, "slow": QUEUED}
    replayed = replay(core, "left")
    assert [type(message) for message in replayed.messages] == [NodeQueued, NodeExecute]
    assert {message.attempt for message in (*replayed.of(NodeQueued), *replayed.of(NodeExecute))} == {2}
    assert attempts(core) == {
        "left": (QUEUED, 2),
        "right": (QUEUED, 1),
        "join": (PENDING, 2),
        "after": (PENDING, 2),
        "slow": (QUEUED, 1),
    }
    succeed(core, "right", "left", "join", "after", "slow")
    assert [item.source for item in job(core, "join").inputs["texts"]] == ["left", "right"]
    assert [(end.status, end.successful_nodes) for end in core.told(RunFinished)] == [(RunStatus.COMPLETED, 5)]
    assert core.replayed() == core.state


def test_what_is_behind_another_failure_stays_skipped_until_that_is_replayed_too():
    core = begun()
    crash(core, "left", "right")
    replay(core, "left")
    assert (core.statuses()["join"], core.statuses()["after"]) == (SKIPPED, SKIPPED)
    succeed(core, "left")
    replay(core, "right")
    assert (attempts(core)["join"], attempts(core)["after"]) == ((PENDING, 2), (PENDING, 2))
    succeed(core, "right", "join", "after", "slow")
    assert core.told(RunFinished)[0].status is RunStatus.COMPLETED


def test_a_node_that_fails_again_skips_what_is_behind_it_again():
    core = begun()
    crash(core, "left")
    replay(core, "left")
    again = core.deliver(failed(job(core, "left")))
    assert [(skipped.node_id, skipped.attempt) for skipped in again.of(NodeSkipped)] == [("join", 2), ("after", 2)]
    replay(core, "left")
    assert attempts(core)["after"] == (PENDING, 3)
    succeed(core, "left", "right", "join", "after", "slow")
    assert core.told(RunFinished)[0].status is RunStatus.COMPLETED


def test_the_attempts_before_the_replay_do_not_count_against_the_retry_policy():
    core = begun()
    crash(core, "left")
    replay(core, "left")
    assert not job(core, "left").last_attempt
    (retrying,) = core.deliver(failed(job(core, "left"), "llm_rate_limited", retryable=True)).of(NodeRetrying)
    core.deliver(NodeRetry(**about(retrying.node_id, attempt=3), at=NOW))
    assert (attempts(core)["left"], attempts(core)["join"]) == ((QUEUED, 3), (PENDING, 2))
    assert job(core, "left").last_attempt
    core.deliver(failed(job(core, "left"), "llm_rate_limited", retryable=True))
    assert attempts(core)["left"] == (FAILED, 3)


def test_a_repeated_word_tells_the_same_again_and_changes_nothing():
    core = begun()
    crash(core, "left")
    first = replay(core, "left")
    repeated = replay(core, "left", attempt=1)
    assert (repeated.event, repeated.messages) == (None, first.messages)
    succeed(core, "left")
    past = replay(core, "left", attempt=1)
    assert (past.event, past.messages) == (None, ())


@pytest.mark.parametrize(("node_id", "attempt"), [("left", 2), ("join", 1), ("after", 1), ("slow", 1), ("slow", 2)])
def test_a_word_about_anything_but_the_failed_attempt_is_without_effect(node_id, attempt):
    core = begun()
    crash(core, "left")
    before = core.state
    word = replay(core, node_id, attempt=attempt)
    assert (word.event, word.messages, core.state) == (None, (), before)


def test_a_word_about_a_node_that_waits_is_without_effect():
    core = begun()
    word = replay(core, "join")
    assert (word.event, word.messages) == (None, ())


def test_a_word_about_a_node_that_is_not_there_is_refused():
    with pytest.raises(UnknownNodeError):
        begun().deliver(NodeReplay(run_id=RUN_ID, node_id="nowhere", node_type="llm"))


def test_a_word_after_the_end_is_without_effect():
    core = begun(chain("a", "b"))
    crash(core, "a")
    assert core.told(RunFinished)[0].status is RunStatus.FAILED
    before = core.state
    word = replay(core, "a")
    assert (word.event, word.messages, core.state) == (None, (), before)


def test_edited_params_are_those_of_the_job_the_key_and_the_replayed_journal():
    core = begun(OPEN)
    crash(core, "a")
    replay(core, "a", params={"userMessage": "other"})
    assert job(core, "a").params == {"userMessage": "other"}
    assert core.state.plan.nodes["a"].params == {"userMessage": "other"}
    assert core.replayed() == core.state
    crash(core, "a")
    replay(core, "a")
    assert (job(core, "a").attempt, job(core, "a").params) == (3, {"userMessage": "other"})
    assert core.replayed() == core.state


def test_params_that_do_not_fit_fail_the_attempt_and_leave_the_old_ones():
    core = begun(OPEN)
    crash(core, "a")
    word = replay(core, "a", params={"temperature": "warm"})
    (failure,) = word.of(NodeFailed)
    assert (failure.attempt, failure.error.code, failure.error.node_id) == (2, "invalid_params", "a")
    assert {(skipped.node_id, skipped.attempt) for skipped in word.of(NodeSkipped)} == {("b", 2), ("c", 2)}
    assert core.replayed() == core.state
    replay(core, "a")
    assert (job(core, "a").attempt, job(core, "a").params) == (3, {"userMessage": "?"})


def test_a_replayed_node_may_reuse_an_output_that_was_found():
    asked = {"params": {"userMessage": "?", "model": "m"}, "cache": True}
    core = begun(OPEN.model_copy(update={"nodes": tuple(node.model_copy(update=asked) for node in OPEN.nodes)}))
    known = {cache_key(core.state, "a"): TextValue(text="known")}
    crash(core, "a")
    word = core.deliver(NodeReplay(**core.state.attempt_at("a")), cached=known)
    (reused,) = word.of(NodeSucceeded)
    assert (reused.node_id, reused.attempt, reused.cached) == ("a", 2, True)
    assert job(core, "b").attempt == 2
    assert core.replayed() == core.state


def test_an_inline_node_that_is_replayed_is_evaluated_at_once():
    graph = WorkflowGraph(
        nodes=(ask("a"), Node(id="out", type="response"), ask("slow")),
        edges=(Edge(source="a", target="out", target_handle="answer"),),
    )
    core = begun(graph)
    core.deliver(succeeded(job(core, "a"), "x" * 9_000_000))
    assert core.statuses()["out"] is FAILED
    word = replay(core, "out")
    (failure,) = word.of(NodeFailed)
    assert (failure.attempt, failure.error.code) == (2, "inputs_too_large")


def test_a_replayed_node_waits_for_its_place_and_says_so():
    core = begun(OPEN, options=RunOptions(max_in_flight=1, window=1))
    crash(core, "a")
    assert core.jobs()[-1] == "slow"
    assert replay(core, "a").messages == ()
    explainer = Explainer(core.state, now=NOW)
    (told,) = explainer.explain(["a"], {}).nodes
    assert (told.status, [reason.code for reason in told.reasons]) == (PENDING, ["in_flight_limit"])
    assert core.deliver(succeeded(job(core, "slow"))).of(NodeExecute)[0].attempt == 2


def test_a_late_result_of_the_failed_attempt_is_late_while_the_node_waits_again():
    core = begun(OPEN, options=RunOptions(max_in_flight=1, window=1))
    dead = job(core, "a")
    crash(core, "a")
    replay(core, "a")
    assert [type(message) for message in core.deliver(succeeded(dead)).messages] == [NodeLate]
    assert core.deliver(expiry(core.state, "a", NOW).model_copy(update={"attempt": 1})).event is None


def test_a_reached_budget_also_holds_for_a_replayed_node():
    core = begun(OPEN, options=RunOptions(budget=Budget(max_tokens=5)))
    crash(core, "a")
    core.deliver(NodeLasting(**job(core, "slow").about, at=NOW, started_at=NOW))
    replay(core, "a")
    core.deliver(succeeded(job(core, "a"), usage=Usage(model="m", input_tokens=4, output_tokens=4)))
    assert attempts(core)["b"] == (FAILED, 2)
    (failure,) = replay(core, "b").of(NodeFailed)
    assert (failure.attempt, failure.error.code) == (3, "budget_exceeded")


@pytest.mark.parametrize("end", [RunCancel(run_id=RUN_ID), RunExpire(run_id=RUN_ID, at=NOW)])
def test_what_waits_again_ends_with_its_run(end):
    core = begun(OPEN, options=RunOptions(max_in_flight=1, window=1))
    crash(core, "a")
    replay(core, "a")
    told = core.deliver(end)
    ended = [*told.of(NodeCancelled), *told.of(NodeFailed)]
    assert ("a", 2) in {(message.node_id, message.attempt) for message in ended}
    assert len(told.of(RunFinished)) == 1
    assert core.replayed() == core.state


@given(graphs(), st.integers(), st.floats(0, 1), st.floats(0, 1))
def test_whatever_is_replayed_and_in_whatever_order_the_run_ends_as_its_nodes_say(graph, seed, failing, replaying):
    core = played(graph, random.Random(seed), failing, replaying)
    statuses = core.statuses()
    assert set(statuses.values()) <= FINAL_NODE_STATUSES
    assert (core.state.open_nodes, core.state.in_flight, len(core.state.ready)) == (0, 0, 0)
    assert len({end.to_json() for end in core.told(RunFinished)}) == 1
    for node in graph.nodes:
        before = {statuses[edge.source] for edge in graph.edges if edge.target == node.id}
        assert (statuses[node.id] is SKIPPED) == bool(before & {FAILED, SKIPPED})
    assert core.replayed() == core.state
    assert len({event.message_id for event in core.journal}) == len(core.journal)


def played(graph, chance, failing, replaying):
    """Play a run in any order, each message twice; whatever fails may be replayed, often enough or not."""
    core, pending = Core(graph), []
    pending.append(core.command)
    while pending:
        message = pending.pop(chance.randrange(len(pending)))
        first = core.deliver(message)
        assert core.deliver(message).messages == first.messages
        for told in first.of(NodeExecute):
            fails = told.attempt < MOST_FAILURES and chance.random() < failing
            pending.append(failed(told) if fails else succeeded(told))
        if isinstance(message, NodeFailed) and chance.random() < replaying:
            pending += [NodeReplay(**message.about)] * 2
    return core
