"""How deeply JSON may be nested, and that what is accepted can be read wherever it gets to."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from pydantic import ValidationError

from shared.contracts.commands import NodeReplay, RunStart
from shared.contracts.events import RunStarted, read_event
from shared.contracts.graph import Node, WorkflowGraph
from shared.contracts.nesting import MAX_LEVELS, is_too_deep
from shared.contracts.queries import RunReply, RunView
from shared.contracts.states import RunStatus
from shared.contracts.values import MAX_DEPTH, RecordValue, TextValue

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUN_ID = UUID(int=1)
EMPTY = WorkflowGraph(nodes=())


def nested(levels, make=lambda inner: [inner]):
    """Return a value within so many others."""
    value = 1
    for _ in range(levels):
        value = make(value)
    return value


def records(depth):
    """Return a text within so many records."""
    value = TextValue(text="x").model_dump()
    for _ in range(depth):
        value = {"type": "record", "fields": {"x": value}}
    return value


@pytest.mark.parametrize("make", [lambda inner: [inner], lambda inner: {"x": inner}, lambda inner: [0, inner, "x"]])
def test_levels_are_those_of_arrays_and_objects(make):
    assert not is_too_deep(nested(MAX_LEVELS, make))
    assert is_too_deep(nested(MAX_LEVELS + 1, make))


@pytest.mark.parametrize(
    "read",
    [
        lambda deep: RunStart(run_id=RUN_ID, graph=EMPTY, metadata={"x": deep}),
        lambda deep: Node(id="n", type="llm", params={"x": deep}),
        lambda deep: NodeReplay(run_id=RUN_ID, node_id="n", node_type="llm", params={"x": deep}),
    ],
)
def test_what_is_nested_too_deeply_is_refused(read):
    read(nested(MAX_LEVELS - 1))
    with pytest.raises(ValidationError, match="nested 64 levels deep at most"):
        read(nested(MAX_LEVELS))


def test_records_within_records_are_counted():
    assert RecordValue.model_validate(records(MAX_DEPTH)).depth == MAX_DEPTH
    with pytest.raises(ValidationError, match="nested 64 levels deep at most"):
        RecordValue.model_validate(records(MAX_DEPTH + 1))


def test_the_deepest_that_is_accepted_can_be_read_in_all_that_tells_of_it():
    start = RunStart.model_validate(
        {
            "run_id": RUN_ID,
            "graph": {"nodes": [{"id": "n", "type": "llm", "params": {"x": nested(MAX_LEVELS - 1)}}]},
            "metadata": {"x": nested(MAX_LEVELS - 1)},
            "inputs": {"x": records(MAX_DEPTH)},
        }
    )
    assert RunStart.model_validate_json(start.to_json()) == start
    told = RunStarted(run_id=RUN_ID, at=NOW, command=start, nodes=())
    assert read_event(told.to_json()) == told
    view = RunView(run_id=RUN_ID, status=RunStatus.QUEUED, metadata=start.metadata)
    assert RunReply.model_validate_json(RunReply(run=view).to_json()).run == view
