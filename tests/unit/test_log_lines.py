"""What the lines of logs say of the work that they belong to."""

from uuid import UUID

import pytest
from structlog.contextvars import bound_contextvars, get_contextvars

from shared.contracts.commands import NodeExecute
from shared.logs import add_trace_id
from shared.telemetry.messages import work_on
from shared.telemetry.propagation import extract, unsampled_context
from shared.telemetry.tracing import attached

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


def test_lines_name_the_trace_that_they_belong_to():
    context = extract({"traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-00"})
    with attached(context):
        assert add_trace_id(None, "info", {"event": "done"}) == {"event": "done", "trace_id": TRACE_ID}
    assert add_trace_id(None, "info", {"event": "done"}) == {"event": "done"}


def test_without_tracing_requests_have_trace_ids_all_the_same():
    with attached(unsampled_context()):
        assert len(add_trace_id(None, "info", {})["trace_id"]) == 32


def test_lines_about_a_job_name_its_node():
    with bound_contextvars(run_id="", node_id=""):
        work_on(NodeExecute(run_id=UUID(int=1), node_id="ask", node_type="llm"))
        assert get_contextvars().items() >= {"run_id": str(UUID(int=1)), "node_id": "ask"}.items()


@pytest.mark.parametrize("value", [1, b"00", None, "00-zz", f"00-{'0' * 32}-b7ad6b7169203331-01", "x" * 10_000])
def test_a_context_that_cannot_be_read_is_none(value):
    assert extract({"traceparent": value}) is None
