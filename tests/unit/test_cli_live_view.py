"""The picture of a run that goes on, as text at two widths: its tree, its bars, the words that stream in."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import pairwise
from uuid import UUID

import pytest
from rich.console import Console

from cli.live_view import LiveView
from cli.progress import RunProgress
from cli.tree import rows_of
from shared.contracts.envelope import NodeAttempt
from shared.contracts.errors import Problem
from shared.contracts.events import NodeProgress
from shared.contracts.graph import Edge, Node, WorkflowGraph
from shared.contracts.queries import NodeView, RunView
from shared.contracts.states import NodeStatus, RunStatus

RUN = UUID(int=7)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
WAYS = {
    "photo": ("left", "right"),
    "left": ("ask_left",),
    "right": ("ask_right",),
    "ask_left": ("join",),
    "ask_right": ("join",),
    "join": (),
}
GRAPH = WorkflowGraph(
    nodes=tuple(Node(id=name, type="llm", timeout=60 if name == "ask_left" else None) for name in WAYS),
    edges=tuple(Edge(source=name, target=target) for name, targets in WAYS.items() for target in targets),
)
LIMITED = Problem(code="llm_rate_limited", message="the provider asks\n for patience")


def ago(seconds):
    return NOW - timedelta(seconds=seconds)


NODES = (
    NodeView(node_id="photo", node_type="upload_image", name="Photo [x]", status=NodeStatus.SUCCESS),
    NodeView(node_id="left", node_type="crop_image", status=NodeStatus.SUCCESS, seconds=0.25, cached=True),
    NodeView(node_id="right", node_type="crop_image", status=NodeStatus.QUEUED, queued_at=ago(4)),
    NodeView(node_id="ask_left", node_type="llm", status=NodeStatus.RUNNING, attempt=2, started_at=ago(30)),
    NodeView(
        node_id="ask_right",
        node_type="llm",
        status=NodeStatus.RETRYING,
        error=LIMITED,
        retry_at=NOW + timedelta(seconds=7),
    ),
    NodeView(node_id="join", node_type="llm", status=NodeStatus.PENDING),
)


def a_run(nodes=NODES, graph: WorkflowGraph | None = GRAPH):
    run = RunView(run_id=RUN, status=RunStatus.RUNNING, workflow_name="halves", created_at=ago(40), nodes=nodes)
    progress = RunProgress(run)
    progress.graph = graph
    return progress


def told(text, *, offset, sequence=1, attempt=2, done=None):
    about = NodeAttempt(run_id=RUN, node_id="ask_left", node_type="llm", attempt=attempt)
    return NodeProgress(**about, at=NOW, sequence=sequence, text=text, offset=offset, done=done)


def drawn(progress, *, width=80, height=25):
    file = StringIO()
    Console(file=file, width=width, height=height, color_system=None).print(LiveView(progress, lambda: NOW))
    return file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_a_run_is_drawn_as_a_tree(snapshot, width):
    progress = a_run()
    progress.take(told("A red square stands on the left, ", offset=0))
    progress.take(told("and nothing else can be seen in this part of the picture.", offset=33, sequence=2))
    assert drawn(progress, width=width) == snapshot


def test_no_line_is_longer_than_the_screen_is_wide():
    for width in (40, 80, 200):
        assert max(map(len, drawn(a_run(), width=width).splitlines())) <= width


def test_ten_thousand_nodes_are_drawn_on_one_screen():
    pending = (NodeView(node_id=f"n{number}", status=NodeStatus.PENDING) for number in range(10_000))
    lines = drawn(a_run((*pending, *NODES), None), height=10).splitlines()
    assert len(lines) == 9
    assert "1/10,006" not in lines[1]
    assert "2/10,006 nodes: 1 running, 1 queued, 1 retrying, 10,001 pending, 2 success" in lines[1]
    assert [line.split()[0] for line in lines[2:5]] == ["ask_left", "ask_right", "right"]


def test_the_pieces_of_an_answer_are_put_together_and_none_twice():
    progress = a_run()
    for piece in (
        told("old words", offset=0, attempt=1),
        told("ab", offset=0),
        told("bcd", offset=1),
        told("e", offset=4),
    ):
        progress.take(piece)
    assert progress.streamed["ask_left"].last_words == "abcde"
    progress.take(told("late", offset=0, attempt=1))
    progress.take(told("after a gap", offset=100))
    assert progress.streamed["ask_left"].last_words == "after a gap"


def test_the_share_that_is_done_goes_before_the_timeout():
    progress = a_run()
    progress.take(told("", offset=0, done=0.25))
    (line,) = (line for line in drawn(progress).splitlines() if "running #2" in line)
    assert line.count("█") == 2


def test_a_long_chain_keeps_its_names():
    names = [f"node{number}" for number in range(20)]
    graph = WorkflowGraph(
        nodes=tuple(Node(id=name, type="text") for name in names),
        edges=tuple(Edge(source=a, target=b) for a, b in pairwise(names)),
    )
    nodes = tuple(NodeView(node_id=name, status=NodeStatus.PENDING) for name in names)
    assert "node19" in drawn(a_run(nodes, graph), width=120, height=30)


def test_a_graph_is_laid_out_below_its_inputs_and_a_circle_is_a_list():
    assert [(row.guides, row.node_id) for row in rows_of(GRAPH, list(WAYS))] == [
        ("", "photo"),
        ("├─ ", "left"),
        ("│  └─ ", "ask_left"),
        ("└─ ", "right"),
        ("   └─ ", "ask_right"),
        ("      └─ ", "join"),
    ]
    circle = GRAPH.model_copy(update={"edges": (*GRAPH.edges, Edge(source="join", target="photo"))})
    assert [row.node_id for row in rows_of(circle, list(WAYS))] == list(WAYS)
