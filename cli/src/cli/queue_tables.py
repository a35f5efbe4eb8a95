"""How queues are shown to people."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from shared.contracts.errors import Problem
from shared.contracts.queues import LevelSource, NodeTypeLevel, QueueDetails, QueueLevel, QueuesView

UNKNOWN = "?"
_NODE_TYPE_COLUMNS = ("jobs of", "waiting", "in hand", "oldest", "in/s", "out/s", "drained in", "dead")
_QUEUE_COLUMNS = ("queue", "ready", "unacked", "consumers", "in/s", "out/s")
_MINUTE, _HOUR, _DAY = 60.0, 3_600.0, 86_400.0


def queues_table(view: QueuesView) -> RenderableType:
    """Return all queues: by node type, one by one, and what is wrong."""
    parts: list[RenderableType] = [
        _table(_NODE_TYPE_COLUMNS, [_node_type_row(level) for level in view.node_types]),
        Text(),
        _table(_QUEUE_COLUMNS, [_queue_row(level) for level in view.queues]),
        *_note(view.source),
        *_warnings([*view.warnings, *_of_parts(view.node_types, view.queues)]),
    ]
    return Group(*parts)


def queue_table(details: QueueDetails) -> RenderableType:
    """Return one queue, and the node type that it belongs to."""
    node_types = (details.node_type,) if details.node_type else ()
    parts: list[RenderableType] = [_table(_QUEUE_COLUMNS, [_queue_row(details.queue)])]
    if node_types:
        parts += [Text(), _table(_NODE_TYPE_COLUMNS, [_node_type_row(level) for level in node_types])]
    return Group(
        *parts, *_note(details.source), *_warnings([*details.warnings, *_of_parts(node_types, [details.queue])])
    )


def duration(seconds: float | None) -> str:
    """Return about how long that is, in one unit."""
    if seconds is None:
        return UNKNOWN
    for unit, length in (("d", _DAY), ("h", _HOUR), ("min", _MINUTE)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False)
    first, *others = columns
    table.add_column(first, overflow="fold")
    for column in others:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _node_type_row(level: NodeTypeLevel) -> tuple[str, ...]:
    return (
        level.node_type,
        _count(level.waiting),
        _count(level.in_hand),
        duration(level.oldest_seconds) if level.oldest_seconds is not None else "",
        f"{level.arriving:.1f}",
        f"{level.finishing:.1f}",
        duration(level.drain_seconds),
        _count(level.dead_letters),
    )


def _queue_row(level: QueueLevel) -> tuple[str, ...]:
    if not level.exists:
        return (level.name, "missing", *[""] * (len(_QUEUE_COLUMNS) - 2))
    rates = level.rates.published, level.rates.acknowledged
    return (
        level.name,
        _count(level.ready),
        _count(level.unacked),
        _count(level.consumers),
        *("" if rate is None else f"{rate:.1f}" for rate in rates),
    )


def _count(number: int | None) -> str:
    return UNKNOWN if number is None else f"{number:,}"


def _note(source: LevelSource) -> Iterator[Text]:
    if source is LevelSource.AMQP:
        yield Text()
        yield Text("Without the broker's management API, what is in hand and the rates of queues are not known.")


def _of_parts(node_types: Sequence[NodeTypeLevel], queues: Sequence[QueueLevel]) -> list[Problem]:
    """Return the warnings of node types and queues; what is said of a node type is not said of each of its queues."""
    told = [(level.node_type, problem) for level in node_types for problem in level.warnings]
    of_types = {(node_type, problem.code) for node_type, problem in told}
    return [problem for _, problem in told] + [
        problem for level in queues for problem in level.warnings if (level.node_type, problem.code) not in of_types
    ]


def _warnings(problems: Sequence[Problem]) -> Iterator[Text]:
    if problems:
        yield Text()
    for problem in problems:
        line = Text(f"{problem.code}: ", style="bold yellow")
        yield line.append(Text(f"{problem.message}" + (f" -> {problem.fix}" if problem.fix else ""), style="default"))
