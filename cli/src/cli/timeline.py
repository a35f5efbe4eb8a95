"""What the nodes of a run did when, as bars along one axis: waiting for a worker, then being worked on."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cli.words import STYLES, seconds_between
from shared.client.requests import Timeline
from shared.contracts.history import TimelineEntry
from shared.contracts.states import NodeStatus

WAITED, WORKED, FAILED = "░", "█", "▓"
LEGEND = f"{WAITED} waited for a worker   {WORKED} ran   {FAILED} ran, and failed"
_ASCII = str.maketrans({WAITED: ".", WORKED: "#", FAILED: "x"})
_LEAST_BAR = 10
_LEAST_NAME = 8


def timeline_table(timeline: Timeline, entries: Sequence[TimelineEntry], *, now: datetime, width: int) -> Table:
    """Return a line for each of these entries of the timeline; what goes on lasts until `now`."""
    start, end = _bounds(timeline, now)
    total = seconds_between(start, end) or 0.0
    table = Table(box=None, pad_edge=False, width=width, padding=(0, 1, 0, 0))
    table.add_column("node", no_wrap=True, overflow="ellipsis", min_width=_LEAST_NAME, max_width=max(8, width // 4))
    table.add_column("", no_wrap=True)
    table.add_column(_Axis(total), no_wrap=True, ratio=1, min_width=_LEAST_BAR)
    table.add_column("wait", no_wrap=True, justify="right")
    table.add_column("run", no_wrap=True, justify="right")
    table.add_column("", no_wrap=True)
    before = None
    for entry in entries:
        table.add_row(*_cells(entry, _Bar(entry, start, end, total), is_first=entry.node_id != before, now=now))
        before = entry.node_id
    return table


def longest(timeline: Timeline, most: int) -> list[TimelineEntry]:
    """Return those entries, `most` at most, that waited and ran longest; in the order of the workflow."""
    by_length = sorted(timeline.entries, key=lambda entry: seconds_between(entry.queued_at, entry.finished_at) or 0.0)
    chosen = set(map(id, by_length[-most:]))
    return [entry for entry in timeline.entries if id(entry) in chosen]


def _cells(entry: TimelineEntry, bar: "_Bar", *, is_first: bool, now: datetime) -> Iterator["Text | _Bar"]:
    yield Text(entry.name or entry.node_id if is_first else "")
    yield Text(f"#{entry.attempt}" if (entry.attempt or 1) > 1 else "")
    yield bar
    yield Text(_seconds(entry.queue_seconds))
    yield Text(_seconds(seconds_between(entry.started_at, entry.finished_at or now)))
    status = "cached" if entry.cached else str(entry.status)
    yield Text("" if status == NodeStatus.SUCCESS else status, STYLES[entry.status])


def _bounds(timeline: Timeline, now: datetime) -> tuple[datetime, datetime]:
    entries = timeline.entries
    starts = [moment for entry in entries for moment in (entry.queued_at, entry.started_at) if moment]
    ends = [entry.finished_at for entry in entries if entry.finished_at]
    start = min((*starts, *((timeline.created_at,) if timeline.created_at else ())), default=now)
    return start, max(timeline.finished_at or now, *ends, start) if ends else max(timeline.finished_at or now, start)


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f} s"


class _Axis:
    """The beginning and the end of the axis, over its bars."""

    def __init__(self, total: float) -> None:
        self._total = total

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(f"0{f'{self._total:.2f} s':>{max(0, options.max_width - 1)}}", no_wrap=True)


class _Bar:
    """A line of the axis: blank until the attempt was queued, shaded while it waited, full while it ran."""

    def __init__(self, entry: TimelineEntry, start: datetime, end: datetime, total: float) -> None:
        self._entry, self._start, self._end, self._total = entry, start, end, total

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        entry, width = self._entry, options.max_width
        queued = self._column(entry.queued_at or entry.started_at, width)
        started = self._column(entry.started_at or entry.finished_at, width)
        ended = self._column(entry.finished_at, width)
        waited = started - queued
        # What took any time at all is to be seen.
        worked = max(1, ended - started) if entry.started_at else 0
        queued = min(queued, width - waited - worked)
        mark = FAILED if entry.status is NodeStatus.FAILED else WORKED
        bar = " " * queued + WAITED * waited + mark * worked
        yield Text(bar.translate(_ASCII) if options.ascii_only else bar, STYLES[entry.status], no_wrap=True)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(_LEAST_BAR, options.max_width)

    def _column(self, moment: datetime | None, width: int) -> int:
        """Return where a moment is, from 0 to the width; one that has not come is at the end."""
        seconds = seconds_between(self._start, moment or self._end) or 0.0
        return min(width, round(width * seconds / self._total)) if self._total else 0
