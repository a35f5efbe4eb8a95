"""What is written to stdout: JSON for programs, plain text and tables for people."""

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from uuid import UUID

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from cli.errors import tell_problem
from cli.happenings import History
from cli.output import ListOutput, Output
from cli.timeline import LEGEND, longest, timeline_table
from cli.words import label, late_note, seconds_between, status_of
from shared.assets import AssetStore
from shared.client.requests import Timeline
from shared.contracts.base import Contract
from shared.contracts.errors import Problem
from shared.contracts.queries import NodeExplanation, NodeView, RunView, WhyReply
from shared.contracts.values import ImageValue, TextValue

PIPE_WIDTH = 500  # characters; lines that are longer are none for people
_NODE_COLUMNS = ("node", "type", "status", "attempt", "seconds", "tokens", "dollars")


def write_json(content: Contract | dict[str, object]) -> None:
    """Write JSON, and nothing else, to stdout."""
    text = content.to_json().decode() if isinstance(content, Contract) else json.dumps(content)
    write_line(text)


def write_note(text: str) -> None:
    """Write a line about progress to stderr."""
    sys.stderr.write(text + "\n")


def write_line(text: str = "") -> None:
    """Write a line to stdout."""
    sys.stdout.write(text + "\n")


def write_line_now(text: str) -> None:
    """Write a line to stdout, to be seen at once by whoever reads it, also through a pipe."""
    write_line(text)
    sys.stdout.flush()


def write_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table for people to stdout; nothing in it is taken for markup, and in a pipe nothing is folded."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console()
    if not console.is_terminal:
        console.width = sum(max(len(cell) for cell in column) + 2 for column in zip(columns, *rows, strict=True))
    console.print(table)


def write_renderable(content: RenderableType) -> None:
    """Write tables for people to stdout; in a pipe nothing is folded."""
    console = Console()
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    console.print(content)


def write_result(run: RunView, assets_url: str | None, output: Output) -> None:
    """Write a run that has ended, as JSON or for people."""
    if output is Output.JSON:
        write_json(run)
    else:
        write_run(run, assets_url)


def write_run(run: RunView, assets_url: str | None) -> None:
    """Write a run for people: its outcome, pictures and answers; what went wrong goes to stderr."""
    write_line(_headline(run))
    nodes = run.nodes or ()
    assets = AssetStore.from_url(assets_url) if assets_url else None
    for line in (*_pictures(nodes, assets), *_answers(nodes), *_late_results(nodes)):
        write_line(line)
    sys.stdout.flush()
    for problem in (*run.problems, *_node_problems(nodes)):
        tell_problem(problem)


def write_run_in_full(run: RunView, assets_url: str | None) -> None:
    """Write a run for people with a table of its nodes before its results."""
    write_table(_NODE_COLUMNS, [_node_row(node) for node in run.nodes or ()])
    write_line()
    write_run(run, assets_url)


def write_history(history: History, output: ListOutput) -> None:
    """Write all that happened to a run: as JSON, as a line of JSON for each, or for people."""
    match output:
        case ListOutput.JSON:
            write_json(history)
        case ListOutput.JSONL:
            for event in history.events:
                write_json(event)
        case ListOutput.TEXT:
            write_table(("time (UTC)", "event", "node", ""), [event.as_row() for event in history.events])


def write_timeline(timeline: Timeline, most: int) -> None:
    """Write for people what the nodes of a run did when, `most` lines of it, as wide as the terminal."""
    console = Console()
    entries = longest(timeline, most)
    console.print(timeline_table(timeline, entries, now=datetime.now(UTC), width=console.width))
    write_line(LEGEND)
    if left := len(timeline.entries) - len(entries):
        write_line(f"{left:,} shorter attempts are left out; show more with --limit")


def write_explanation(run_id: UUID, reply: WhyReply) -> None:
    """Write for people what a run is waiting for, and its nodes."""
    status = reply.status or "unknown"
    write_line(f"Run {run_id} {status}" + (f": {reply.open_nodes} nodes have not ended" if reply.open_nodes else ""))
    for reason in reply.reasons:
        write_line(f"  {reason.code}: {reason.message}")
    if reply.nodes:
        write_line()
        rows = [(node.node_id, node.status, why) for node in reply.nodes for why in _reasons(node)]
        write_table(("node", "status", "why"), rows)


def _reasons(node: NodeExplanation) -> list[str]:
    return [f"{reason.code}: {reason.message}" for reason in node.reasons] or [""]


def _node_row(node: NodeView) -> tuple[str, ...]:
    usage = node.usage
    tokens = (usage.input_tokens or 0) + (usage.output_tokens or 0) if usage else None
    return (
        label(node),
        node.node_type or "",
        status_of(node),
        str(node.attempt),
        "" if node.seconds is None else f"{node.seconds:.2f}",
        "" if tokens is None else f"{tokens:,}",
        "" if usage is None or usage.cost is None else f"{usage.cost:.4f}",
    )


def _headline(run: RunView) -> str:
    seconds = seconds_between(run.created_at, run.finished_at)
    took = "" if seconds is None else f" in {seconds:.2f} s"
    return f"Run {run.run_id} {run.status}{took}: {', '.join(_counts(run))}"


def _counts(run: RunView) -> Iterator[str]:
    cached = f" ({run.cached_nodes} cached)" if run.cached_nodes else ""
    yield f"{run.successful_nodes} of {run.total_nodes} nodes succeeded{cached}"
    others = {"failed": run.failed_nodes, "skipped": run.skipped_nodes, "cancelled": run.cancelled_nodes}
    yield from (f"{count} {what}" for what, count in others.items() if count)
    if run.tokens:
        yield f"{run.tokens:,} tokens"
    if run.cost:
        yield f"{run.cost:.4f} dollars"


def _late_results(nodes: Sequence[NodeView]) -> Iterator[str]:
    for node in nodes:
        yield from (f"  {label(node)}: {late_note(late)}" for late in node.late)


def _pictures(nodes: Sequence[NodeView], assets: AssetStore | None) -> Iterator[str]:
    for node in nodes:
        if node.node_type == "crop_image" and isinstance(node.output, ImageValue):
            asset = node.output.asset
            place = assets.local_path(asset) if assets else None
            yield f"  {label(node)}: {place or asset.key} ({asset.width} x {asset.height})"


def _answers(nodes: Sequence[NodeView]) -> Iterator[str]:
    for node in nodes:
        if node.node_type == "llm" and isinstance(node.output, TextValue):
            first, *more = node.output.text.strip().splitlines() or [""]
            yield f"  {label(node)}: {first}"
            yield from (f"    {line}" for line in more)


def _node_problems(nodes: Sequence[NodeView]) -> Iterator[Problem]:
    for node in nodes:
        if node.error and node.status == "failed":
            yield node.error.model_copy(update={"node_id": node.node_id})
