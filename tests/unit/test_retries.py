"""Retries: how long is waited, and what the core makes of attempts that fail."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core import NOW, RUN_ID, Core

from orchestrator.domain.timers import timers_of
from shared.contracts.commands import NodeExecute, NodeRetry, RunExpire
from shared.contracts.errors import Problem
from shared.contracts.events import NodeFailed, NodeQueued, NodeRetrying, NodeSucceeded, RunFinished
from shared.contracts.graph import Edge, Node, WorkflowGraph
from shared.contracts.retries import LONGEST_PAUSE, RetryPolicy
from shared.contracts.states import NodeStatus, RunStatus
from shared.contracts.values import TextValue

POLICY = RetryPolicy(max_attempts=3, first_pause=2, factor=3, longest_pause=10)


@given(st.builds(RetryPolicy), st.integers(1, 1000), st.text())
def test_a_pause_lies_between_half_and_all_of_the_exponential_one(policy, attempt, key):
    full = min(policy.first_pause * policy.factor ** min(attempt - 1, 64), policy.longest_pause)
    assert full / 2 <= policy.pause(attempt, key=key) <= full
    assert policy.pause(attempt, key=key) == policy.pause(attempt, key=key)


def test_pauses_of_many_nodes_are_spread():
    pauses = {RetryPolicy().pause(1, key=f"run/node{number}") for number in range(100)}
    assert len(pauses) > 90


def test_retry_after_is_never_undercut_and_never_endless():
    assert POLICY.pause(1, key="k", retry_after=60) == 60
    assert POLICY.pause(1, key="k", retry_after=0.001) >= 1
    assert POLICY.pause(1, key="k", retry_after=1e9) == LONGEST_PAUSE


class Asked(Core):
    """One node that is asked, one that waits for its answer."""

    def __init__(self, policy: RetryPolicy | None = POLICY):
        ask = Node(id="ask", type="llm", params={"userMessage": "?"}, retry=policy)
        out = Node(id="out", type="response")
        edges = (Edge(source="ask", target="out", target_handle="a"),)
        super().__init__(WorkflowGraph(nodes=(ask, out), edges=edges))
        self.start()

    @property
    def node(self):
        return self.state.nodes["ask"]

    def fail(self, attempt, *, retryable=True, retry_after=None):
        event = NodeFailed(
            run_id=RUN_ID,
            node_id="ask",
            node_type="llm",
            attempt=attempt,
            at=NOW,
            error=Problem(code="llm_rate_limited", message="slow down"),
            retryable=retryable,
            retry_after=retry_after,
        )
        return self.deliver(event)

    def retry(self, attempt):
        event = NodeRetry(run_id=RUN_ID, node_id="ask", node_type="llm", attempt=attempt, at=NOW)
        return self.deliver(event)


def test_a_failed_attempt_waits_and_says_until_when():
    core = Asked()
    decision = core.fail(1, retry_after=60)
    (retrying,) = decision.messages
    assert isinstance(retrying, NodeRetrying)
    assert retrying.retry_at == NOW + timedelta(seconds=60)
    assert (core.node.status, core.node.retry_at) == (NodeStatus.RETRYING, retrying.retry_at)


def test_the_timer_of_the_state_is_that_of_the_message():
    core = Asked()
    (retrying,) = core.fail(1).messages
    assert isinstance(retrying, NodeRetrying)
    _, timer = timers_of(core.state)
    assert timer.due == retrying.retry_at
    assert isinstance(timer.message, NodeRetry)
    assert (timer.message.node_id, timer.message.attempt) == ("ask", 2)


def test_when_the_time_has_come_the_next_attempt_is_queued_once():
    core = Asked()
    core.fail(1)
    first, again = core.retry(2), core.retry(2)
    queued, job = first.messages
    assert isinstance(job, NodeExecute)
    assert isinstance(queued, NodeQueued)
    assert (job.attempt, job.last_attempt) == (2, False)
    assert again.event is None
    assert again.messages == first.messages
    assert [type(timer.message) for timer in timers_of(core.state)] == [RunExpire]


def test_the_last_attempt_is_marked_and_its_failure_is_final():
    core = Asked()
    core.fail(1)
    core.retry(2)
    core.fail(2)
    (_, job) = core.retry(3).messages
    assert isinstance(job, NodeExecute)
    assert job.last_attempt
    decision = core.fail(3)
    assert core.node.status is NodeStatus.FAILED
    (finished,) = [message for message in decision.messages if isinstance(message, RunFinished)]
    assert finished.status is RunStatus.FAILED


def test_what_is_not_retryable_fails_at_once():
    core = Asked()
    core.fail(1, retryable=False)
    assert core.node.status is NodeStatus.FAILED


def test_a_success_after_a_retry_completes_the_run():
    core = Asked()
    core.fail(1)
    core.retry(2)
    core.deliver(
        NodeSucceeded(
            run_id=RUN_ID, node_id="ask", node_type="llm", attempt=2, at=NOW, output=TextValue(text="at last")
        )
    )
    assert core.state.status is RunStatus.COMPLETED


@pytest.mark.parametrize("attempt", [1, 3, 99])
def test_a_timer_of_another_attempt_changes_nothing(attempt):
    core = Asked()
    core.fail(1)
    assert core.retry(attempt).event is None
    assert core.node.status is NodeStatus.RETRYING


def test_a_repeated_failure_tells_the_same_and_waits_no_longer():
    core = Asked()
    first = core.fail(1)
    again = core.fail(1)
    assert again.event is None
    assert again.messages == first.messages


def test_a_late_failure_of_a_past_attempt_changes_nothing():
    core = Asked()
    core.fail(1)
    core.retry(2)
    late = core.fail(1)
    assert (late.event, late.messages) == (None, ())
    assert core.node.status is NodeStatus.QUEUED


def test_a_dead_job_whose_attempt_failed_already_does_not_end_a_node_that_waits():
    core = Asked()
    core.fail(1)
    dead = core.deliver(NodeExecute(run_id=RUN_ID, node_id="ask", node_type="llm", attempt=1))
    assert (dead.event, dead.messages) == (None, ())
    assert core.node.status is NodeStatus.RETRYING


def test_one_attempt_means_no_retry():
    core = Asked(RetryPolicy(max_attempts=1))
    core.fail(1)
    assert core.node.status is NodeStatus.FAILED


def test_without_a_policy_of_its_own_a_node_has_that_of_its_type():
    core = Asked(policy=None)
    core.fail(1)
    assert core.node.status is NodeStatus.RETRYING
