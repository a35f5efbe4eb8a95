"""Shows a run while it goes on: a tree that changes on a terminal, lines elsewhere; always on stderr."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from cli.follow import OnChange
from cli.live_view import LiveView
from cli.progress import RunProgress
from cli.words import error_note, label, late_note, status_of, waits_for_turn
from shared.contracts.queries import NodeView
from shared.contracts.states import NodeStatus


@contextmanager
def show_progress() -> Generator[OnChange]:
    """Yield what is to be told of a run's progress; on a terminal the last state stays visible."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _LineDisplay(console).show
        return
    tree = _TreeDisplay()
    with Live(get_renderable=tree.render, console=console, refresh_per_second=8):
        yield tree.show


def is_drawn() -> bool:
    """Tell whether progress is drawn, for which the graph is wanted, and not told in lines."""
    return Console(stderr=True).is_terminal


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
    note = error_note(node)
    ending = f" in {node.seconds:.2f} s" if node.seconds is not None else ""
    return f"{label(node)}: {status_of(node)}{attempt}{ending}{note and f'  {note}'}"


class _TreeDisplay:
    def __init__(self) -> None:
        self._view: LiveView | None = None

    def show(self, progress: RunProgress, _: Sequence[NodeView]) -> None:
        self._view = self._view or LiveView(progress)

    def render(self) -> RenderableType:
        return self._view or Text("starting the run ...")
