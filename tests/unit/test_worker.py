"""The worker kit's outcomes become the right result events."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from shared.contracts.errors import Problem
from shared.contracts.messages import NodeExecute, NodeFailed, NodeSucceeded, Usage
from shared.contracts.values import TextValue
from shared.worker import Permanent, Retryable, Succeeded, result_event

JOB = NodeExecute(run_id=uuid4(), node_id="ask", node_type="llm", attempt=2)
NOW = datetime.now(UTC)
PROBLEM = Problem(code="llm_rate_limited", message="slow down")


def test_success_carries_output_usage_and_time():
    usage = Usage(model="m", input_tokens=1, output_tokens=2)
    event = result_event(JOB, Succeeded(TextValue(text="hi"), usage), at=NOW, seconds=0.5)
    assert event == NodeSucceeded(**JOB.about, at=NOW, seconds=0.5, output=TextValue(text="hi"), usage=usage)


@pytest.mark.parametrize(
    ("outcome", "retryable", "retry_after"),
    [(Retryable(PROBLEM, 7.0), True, 7.0), (Retryable(PROBLEM), True, None), (Permanent(PROBLEM), False, None)],
)
def test_failure_says_whether_another_attempt_may_help(outcome, retryable, retry_after):
    event = result_event(JOB, outcome, at=NOW, seconds=0.5)
    assert isinstance(event, NodeFailed)
    assert (event.retryable, event.retry_after) == (retryable, retry_after)
    assert event.error == PROBLEM.model_copy(update={"node_id": "ask"})


def test_the_result_is_about_the_same_attempt():
    event = result_event(JOB, Permanent(PROBLEM), at=NOW, seconds=0.5)
    assert event.about == JOB.about
    assert event.message_id == f"{JOB.run_id}/ask/2/node.failed"
