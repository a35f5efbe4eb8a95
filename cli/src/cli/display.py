"""Shows a run while it goes on: a table that changes on a terminal, lines elsewhere; always on stderr."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.follow import OnChange
from cli.progress import RunProgress
from shared.contracts.queries import LateResult, NodeView
from shared.contracts.states import NodeStatus, RunStatus

STYLES = {
    NodeStatus.PENDING: "dim",
    NodeStatus.QUEUED: "cyan",
    NodeStatus.RUNNING: "bold blue",
    NodeStatus.RETRYING: "yellow",
    NodeStatus.SUCCESS: "green",
    NodeStatus.FAILED: "bold red",
    NodeStatus.SKIPPED: "magenta",
    NodeStatus.CANCELLED: "magenta",
}
_MOST_ROWS = 40
# When not all nodes fit, those come first of which something is to be seen.
_URGENCY = (NodeStatus.FAILED, NodeStatus.RUNNING, NodeStatus.RETRYING, NodeStatus.QUEUED)


@contextmanager
def show_progress() -> Generator[OnChange]:
    """Yield what is to be told of a run's progress; on a terminal the last state stays visible."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _LineDisplay(console).show
        return
    table = _TableDisplay()
    with Live(get_renderable=table.render, console=console, refresh_per_second=8):
        yield table.show


class _LineDisplay:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: dict[str, tuple[NodeStatus, int]] = {}
        self._late: dict[str, int] = {}
        self._told_to_wait = False

    def show(self, progress: RunProgress, changed: Sequence[NodeView]) -> None:
        if waits_for_turn(progress) and not self._told_to_wait:
            self._told_to_wait = True
            self._print(f"run {progress.run.run_id}: {progress.run.status}, waits for its turn")
        for node in changed:
            self._show_node(node)

    def _show_node(self, node: NodeView) -> None:
        state = (node.status, node.attempt)
        if node.status is not NodeStatus.PENDING and self._told.get(node.node_id) != state:
            self._told[node.node_id] = state
            self._print(_line(node))
        for late in node.late[self._late.get(node.node_id, 0) :]:
            self._print(f"{label(node)}: {late_note(late)}")
        self._late[node.node_id] = len(node.late)

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _line(node: NodeView) -> str:
    attempt = f" (attempt {node.attempt})" if node.attempt > 1 else ""
    ending = f" in {node.seconds:.2f} s" if node.seconds is not None else ""
    return f"{label(node)}: {status_of(node)}{attempt}{ending}{_note(node)}"


class _TableDisplay:
    def __init__(self) -> None:
        self._progress: RunProgress | None = None

    def show(self, progress: RunProgress, _: Sequence[NodeView]) -> None:
        self._progress = progress

    def render(self) -> Table | Text:
        return _table(self._progress) if self._progress else Text("starting the run ...")


def _table(progress: RunProgress) -> Table:
    nodes = list(progress.nodes.values())
    table = Table(title=Text(_title(progress)), title_justify="left", box=None, pad_edge=False)
    for name in ("node", "type", "status", "attempt", "seconds", ""):
        table.add_column(name, justify="right" if name in {"attempt", "seconds"} else "left")
    for node in _most_urgent(nodes):
        status = Text(status_of(node), STYLES[node.status])
        table.add_row(Text(label(node)), node.node_type, status, str(node.attempt), _seconds(node), Text(_note(node)))
    if len(nodes) > _MOST_ROWS:
        table.add_row(f"... and {len(nodes) - _MOST_ROWS} more")
    return table


def _title(progress: RunProgress) -> str:
    ended = sum(node.status is NodeStatus.SUCCESS for node in progress.nodes.values())
    took = seconds_between(progress.run.created_at, progress.run.finished_at or datetime.now(UTC))
    turn = " (waits for its turn)" if waits_for_turn(progress) else ""
    counts = f"{ended}/{len(progress.nodes)} nodes  {took or 0:.1f} s"
    return f"run {progress.run.run_id}  {progress.run.status}{turn}  {counts}"


def _most_urgent(nodes: list[NodeView]) -> list[NodeView]:
    if len(nodes) <= _MOST_ROWS:
        return nodes
    order = {status: place for place, status in enumerate(_URGENCY)}
    return sorted(nodes, key=lambda node: order.get(node.status, len(order)))[:_MOST_ROWS]


def _seconds(node: NodeView) -> str:
    if node.seconds is not None:
        return f"{node.seconds:.2f}"
    running = seconds_between(node.started_at, datetime.now(UTC)) if node.status is NodeStatus.RUNNING else None
    return "" if running is None else f"{running:.1f}"


def _note(node: NodeView) -> str:
    return f"  {node.error.code}: {node.error.message}" if node.error else ""


def waits_for_turn(progress: RunProgress) -> bool:
    """Tell whether the run was taken in, but waits for others with its concurrency key."""
    return progress.run.status is RunStatus.QUEUED and bool(progress.nodes)


def status_of(node: NodeView) -> str:
    """Return the node's status, and whether an earlier output was reused."""
    return f"{node.status} (cached)" if node.cached else str(node.status)


def late_note(late: LateResult) -> str:
    """Return what is to be said of a result that came when its attempt had been given up."""
    return f"attempt {late.attempt} came too late ({late.outcome}), which changes nothing"


def label(node: NodeView) -> str:
    """Return what people call the node."""
    return node.name or node.node_id


def seconds_between(start: datetime | None, end: datetime | None) -> float | None:
    """Return the seconds from one moment to another; None if one of them is not known. Never negative."""
    return max(0.0, (end - start).total_seconds()) if start and end else None
