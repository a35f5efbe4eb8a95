"""How dead letters are shown to people."""

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from shared.contracts.dead_letters import DeadLetter, DeadLetterPage, LetterOutcome, LetterResult

_COLUMNS = ("id", "died", "queue", "code", "run", "node")


def letters_table(page: DeadLetterPage) -> RenderableType:
    """Return a page of dead letters, and how many there are in all."""
    table = Table(box=None, pad_edge=False)
    for column in _COLUMNS:
        table.add_column(column, overflow="fold", no_wrap=column in {"id", "died"})
    for letter in page.letters:
        table.add_row(*(Text(cell) for cell in _row(letter)))
    count = f"{len(page.letters):,} of {page.total:,} dead letters"
    more = f"; more: --cursor {page.next_cursor}" if page.next_cursor else ""
    return Group(table, Text(count + more))


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


def _row(letter: DeadLetter) -> Sequence[str]:
    died = letter.died_at.strftime("%Y-%m-%d %H:%M:%S")
    node = letter.node_id or ("" if letter.readable else "(cannot be read)")
    return letter.id, died, letter.queue, letter.code, str(letter.run_id or ""), node


def _facts(letter: DeadLetter) -> Iterator[tuple[str, str]]:
    facts = {
        "id": letter.id,
        "queue": letter.queue,
        "kind": letter.kind,
        "run": letter.run_id and f"{letter.run_id} ({letter.run_status or 'not known'})",
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
