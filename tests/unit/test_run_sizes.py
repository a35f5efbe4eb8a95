"""What is too large for a run, a message or a job: the pure core."""

import pytest
from tests.unit.core import Core, chain, job, started, succeeded, wide

from shared.contracts.commands import (
    MAX_START_BYTES,
)
from shared.contracts.events import (
    NodeFailed,
    NodeSucceeded,
    RunFinished,
    RunStarted,
)
from shared.contracts.graph import Edge, Node, WorkflowGraph
from shared.contracts.states import NodeStatus
from shared.contracts.values import TextValue


def test_outputs_that_do_not_fit_into_what_tells_of_the_start_are_told_one_by_one():
    text = "x" * 3_000_000
    nodes = (Node(id="say", type="text", params={"text": text}), *(Node(id=f"r{n}", type="response") for n in range(3)))
    edges = tuple(Edge(source="say", target=f"r{n}", target_handle="x") for n in range(3))
    core = Core(WorkflowGraph(nodes=nodes, edges=edges))
    delivered = core.start()
    (run_started,) = delivered.of(RunStarted)
    assert [node.status for node in run_started.nodes] == [NodeStatus.SUCCESS] + [NodeStatus.PENDING] * 3
    assert {told.node_id for told in delivered.of(NodeSucceeded)} == {"r0", "r1", "r2"}
    assert all(len(message.to_json()) < 12 * 1024 * 1024 for message in delivered.messages)


def test_records_that_explode_fail_their_node_at_once():
    count = 32
    nodes = (Node(id="r0", type="text"), *(Node(id=f"r{n}", type="response") for n in range(1, count)))
    edges = tuple(
        Edge(source=f"r{n}", target=f"r{n + 1}", target_handle=side) for n in range(count - 1) for side in "ab"
    )
    core = started(WorkflowGraph(nodes=nodes, edges=edges))
    assert [failure.error.code for failure in core.told(NodeFailed)] == ["inputs_too_many"]


def test_a_start_that_is_too_large_ends_as_failed_and_says_so():
    core = Core(wide(1), inputs={"n0": TextValue(text="x" * MAX_START_BYTES)})
    first, again = core.start(), core.start()
    (finished,) = first.messages
    assert isinstance(finished, RunFinished)
    assert [problem.code for problem in finished.problems] == ["start_too_large"]
    assert again.messages == first.messages
    assert core.journal[0].to_json()


@pytest.mark.parametrize(("letter", "count"), [("x", 9_000_000), ("\x01", 2_000_000)])
def test_texts_that_are_too_large_for_a_job_fail_its_node(letter, count):
    core = started(chain("a", "b"))
    core.deliver(succeeded(job(core, "a"), text=letter * count))
    (failure,) = core.told(NodeFailed)
    assert (failure.node_id, failure.error.code) == ("b", "inputs_too_large")
