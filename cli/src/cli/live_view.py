"""A picture of a run that goes on: a tree of its nodes, or the most urgent ones where the screen is too small."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from cli.bars import BAR_WIDTH, bar_of, time_of
from cli.progress import RunProgress
from cli.streamed import Streamed
from cli.tree import Row, rows_of
from cli.words import STYLES, error_note, label, seconds_between, waits_for_turn
from shared.contracts.graph import WorkflowGraph
from shared.contracts.node_types import REGISTRY
from shared.contracts.queries import NodeView
from shared.contracts.states import NodeStatus

_SPARE_LINES = 3  # the title, the line of counts, and the one that the cursor stands in
_MOST_GUIDES = 24
_LEAST_NAME = 12
# When not all nodes fit, those come first of which something is to be seen.
_URGENCY = (NodeStatus.FAILED, NodeStatus.RUNNING, NodeStatus.RETRYING, NodeStatus.QUEUED)
_COUNTED = (NodeStatus.RUNNING, NodeStatus.QUEUED, NodeStatus.RETRYING, NodeStatus.PENDING, *NodeStatus)


class LiveView:
    """Draws the progress as it is at the moment of drawing, in the width and height of the screen then."""

    def __init__(self, progress: RunProgress, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._progress, self._clock = progress, clock
        self._graph: WorkflowGraph | None = None
        self._timeouts: dict[str, float] = {}
        self._tree: list[Row] = []

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines, never more than the screen has."""
        height = max(1, (options.height or console.height) - _SPARE_LINES)
        now, nodes = self._clock(), list(self._progress.nodes.values())
        yield Text(_title(self._progress, now), no_wrap=True, overflow="ellipsis")
        yield Text(_counts(nodes), no_wrap=True, overflow="ellipsis")
        table = _empty_table(options.max_width)
        for row in self._rows(nodes, height):
            if node := self._progress.nodes.get(row.node_id):
                table.add_row(*self._cells(row, node, now))
        yield table

    def _rows(self, nodes: Sequence[NodeView], height: int) -> list[Row]:
        is_new = self._progress.graph is not self._graph
        if is_new and (graph := self._progress.graph):
            self._graph, self._timeouts = graph, {node.id: node.timeout for node in graph.nodes if node.timeout}
        if len(nodes) > height:
            return [Row("", node.node_id) for node in _most_urgent(nodes, height)]
        if is_new or len(nodes) != len(self._tree):
            self._tree = rows_of(self._graph, [node.node_id for node in nodes])
        return self._tree

    def _cells(self, row: Row, node: NodeView, now: datetime) -> Iterator[RenderableType]:
        style, streamed = STYLES[node.status], self._progress.streamed.get(node.node_id)
        attempt = f" #{node.attempt}" if node.attempt > 1 else ""
        yield Text.assemble((_shortened(row.guides), "dim"), label(node))
        yield Text(f"{'cached' if node.cached else node.status}{attempt}", style)
        yield Text(bar_of(node, streamed, self._timeout(node), now), style)
        yield Text(time_of(node, now))
        yield _note(node, streamed)

    def _timeout(self, node: NodeView) -> float | None:
        node_type = REGISTRY.get(node.node_type or "")
        return self._timeouts.get(node.node_id) or (node_type.timeout if node_type else None)


def _note(node: NodeView, streamed: Streamed | None) -> RenderableType:
    if node.status is NodeStatus.RUNNING and streamed and streamed.attempt == node.attempt:
        return _LastWords(streamed.last_words)
    return Text(" ".join(error_note(node).split()))


def _empty_table(width: int) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.width = width
    table.add_column(no_wrap=True, overflow="ellipsis", min_width=_LEAST_NAME, max_width=max(_LEAST_NAME, width // 3))
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=14)
    table.add_column(no_wrap=True, width=BAR_WIDTH)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=16)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    return table


def _title(progress: RunProgress, now: datetime) -> str:
    run = progress.run
    took = seconds_between(run.created_at, run.finished_at or now)
    turn = " (waits for its turn)" if waits_for_turn(progress) else ""
    name = f"  {run.workflow_name}" if run.workflow_name else ""
    return f"run {run.run_id}  {run.status}{turn}  {took or 0:.1f} s{name}"


def _counts(nodes: Sequence[NodeView]) -> str:
    found = Counter(node.status for node in nodes)
    others = [f"{found[status]:,} {status}" for status in dict.fromkeys(_COUNTED) if found[status]]
    return f"{found[NodeStatus.SUCCESS]:,}/{len(nodes):,} nodes: {', '.join(others)}"


def _most_urgent(nodes: Sequence[NodeView], most: int) -> list[NodeView]:
    places = {status: place for place, status in enumerate(_URGENCY)}
    groups: list[list[NodeView]] = [[] for _ in range(len(_URGENCY) + 1)]
    for node in nodes:
        group = groups[places.get(node.status, len(_URGENCY))]
        if len(group) < most:
            group.append(node)
    return [node for group in groups for node in group][:most]


def _shortened(guides: str) -> str:
    return guides if len(guides) <= _MOST_GUIDES else f"…{guides[1 - _MOST_GUIDES :]}"


class _LastWords:
    """A text on one line, of which the end is shown where it is too long for its place."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        text = self._text
        while cell_len(text) > options.max_width:
            text = f"…{text[2:]}"
        yield Text(text, no_wrap=True)
