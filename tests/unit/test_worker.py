"""The worker kit's outcomes become the right result events."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from shared.contracts.commands import NodeExecute
from shared.contracts.errors import Problem
from shared.contracts.events import NodeFailed, NodeSucceeded, Usage
from shared.contracts.values import TextValue
from shared.worker import Permanent, Retryable, Succeeded
from shared.worker.outcomes import Execution, result_event, timed_out

JOB = NodeExecute(run_id=uuid4(), node_id="ask", node_type="llm", attempt=2, timeout=1.5)
NOW = datetime.now(UTC)
PROBLEM = Problem(code="llm_rate_limited", message="slow down")
EXECUTION = Execution(worker="host:1", started_at=NOW - timedelta(seconds=0.5), at=NOW, seconds=0.5)
USAGE = Usage(model="m", input_tokens=1, output_tokens=2, cost=0.5)


def test_success_carries_output_usage_and_time():
    event = result_event(JOB, Succeeded(TextValue(text="hi"), USAGE), EXECUTION)
    assert event == NodeSucceeded(**JOB.about, **EXECUTION, output=TextValue(text="hi"), usage=USAGE)


@pytest.mark.parametrize(
    ("outcome", "retryable", "retry_after"),
    [(Retryable(PROBLEM, 7.0), True, 7.0), (Retryable(PROBLEM), True, None), (Permanent(PROBLEM), False, None)],
)
def test_failure_says_whether_another_attempt_may_help(outcome, retryable, retry_after):
    event = result_event(JOB, outcome, EXECUTION)
    assert isinstance(event, NodeFailed)
    assert (event.retryable, event.retry_after) == (retryable, retry_after)
    assert event.error == PROBLEM.model_copy(update={"node_id": "ask"})


@pytest.mark.parametrize("outcome", [Retryable(PROBLEM, usage=USAGE), Permanent(PROBLEM, USAGE)])
def test_failure_carries_what_it_cost(outcome):
    assert result_event(JOB, outcome, EXECUTION).usage == USAGE


def test_after_the_last_attempt_a_failure_is_final():
    last = JOB.model_copy(update={"last_attempt": True})
    event = result_event(last, Retryable(PROBLEM), EXECUTION)
    assert isinstance(event, NodeFailed)
    assert not event.retryable


def test_the_result_is_about_the_same_attempt():
    event = result_event(JOB, Permanent(PROBLEM), EXECUTION)
    assert event.about == JOB.about
    assert event.message_id == f"{JOB.run_id}/ask/2/node.failed"


def test_a_timeout_names_the_node_the_limit_and_what_to_do():
    problem = timed_out(JOB).problem
    assert (problem.code, problem.node_id) == ("node_timeout", "ask")
    assert "1.5 s" in problem.message
    assert problem.fix
