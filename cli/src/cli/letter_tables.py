"""How dead letters are shown to people."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from shared.contracts.dead_letters import DeadLetter, DeadLetterPage, LetterOutcome, LetterResult

WIDE = 120  # columns; a narrower table leaves out the run, which `weft dead show` tells
_COLUMNS = ("id", "died", "dead", "code", "run", "node")
_UNBROKEN = frozenset({"id", "died", "run"})


@dataclass(frozen=True, slots=True)
class LettersTable:
    """A page of dead letters, as wide as the terminal is, and how many there are in all."""

    page: DeadLetterPage

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = [_row(letter) for letter in self.page.letters]
        names = [name for name in _COLUMNS if name != "run" or options.max_width >= WIDE]
        table = Table(box=None, pad_edge=False)
        for name in names:
            table.add_column(name, overflow="fold", no_wrap=name in _UNBROKEN)
        for row in rows:
            table.add_row(*(Text(row[name]) for name in names))
        yield table
        count = f"{len(rows):,} of {self.page.total:,} dead letters"
        yield Text(f"{count}; more: --cursor {self.page.next_cursor}" if self.page.next_cursor else count)


def letter_details(letter: DeadLetter) -> RenderableType:
    """Return all that is known of a dead letter, its body last."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _facts(letter):
        table.add_row(Text(name), Text(value))
    return Group(table, Text(), Text(letter.body or "")) if letter.body else table


def result_line(result: LetterResult) -> str:
    """Return what became of a dead letter, in a line."""
    about = f" {result.run_id}/{result.node_id}" if result.run_id and result.node_id else ""
    to = f" as {result.resumed_as}" if result.resumed_as else ""
    why = f": {result.problem.code}: {result.problem}" if result.problem else ""
    return f"{result.id}{about} {result.outcome}{to}{why}"


def summary(counts: Counter[LetterOutcome]) -> str:
    """Return how many letters there were of each outcome."""
    told = [f"{count:,} {outcome}" for outcome in LetterOutcome if (count := counts[outcome])]
    return ", ".join(told) or "nothing to do"


def _row(letter: DeadLetter) -> dict[str, str]:
    return {
        "id": letter.id,
        "died": letter.died_at.strftime("%m-%d %H:%M:%S"),
        "dead": letter.queue.removeprefix("dead."),
        "code": letter.code,
        "run": _run(letter),
        "node": letter.node_id or ("" if letter.readable else "unreadable"),
    }


def _run(letter: DeadLetter) -> str:
    if len(letter.run_ids) > 1:
        return f"{len(letter.run_ids)} runs"
    return str(letter.run_id or next(iter(letter.run_ids), ""))


def _facts(letter: DeadLetter) -> Iterator[tuple[str, str]]:
    facts = {
        "id": letter.id,
        "queue": letter.queue,
        "kind": letter.kind,
        "run": letter.run_id and f"{letter.run_id} ({letter.run_status or 'not known'})",
        "runs": ", ".join(map(str, letter.run_ids)),
        "owner": letter.owner,
        "node": letter.node_id and f"{letter.node_id} ({letter.node_status or 'not known'})",
        "attempt": letter.attempt,
        "worker": letter.worker,
        "died at": letter.died_at.isoformat(),
        "died in": letter.died_in,
        "reason": f"{letter.reason}, moved {letter.deaths} times",
        "error": letter.error and f"{letter.error.code}: {letter.error}",
        "published to": letter.exchange is not None and f"{letter.exchange or '(default)'} {letter.routing_key}",
        "bytes": f"{letter.bytes:,}" + (" (in base64)" if letter.encoding == "base64" else ""),
    }
    yield from ((name, str(value)) for name, value in facts.items() if value)
