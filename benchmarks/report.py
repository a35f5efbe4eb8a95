"""The figures as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measures import Round, Spread, percentile, spread
from benchmarks.memory import Memory

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was measured, and where."""

    command: str
    machine: str
    versions: str
    rounds: Sequence[Round]
    memory: Sequence[Memory]

    def to_markdown(self) -> str:
        """Return the whole report."""
        head = [f"`{self.command}`", "", f"{self.machine}.", "", f"{self.versions}."]
        parts = (head, _summary(self.rounds), _single_rounds(self.rounds), _memory(self.memory))
        return "\n\n".join("\n".join(part) for part in parts) + "\n"


def to_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def _summary(rounds: Sequence[Round]) -> list[str]:
    runs, idle = rounds[0].weft.batch.runs, sum(len(item.weft.idle) for item in rounds)
    return to_table(
        ["median of rounds (lowest to highest)", "Weft", "Celery", "Weft / Celery"],
        [_rates(rounds, runs), _history(rounds), _latency(rounds, 50, idle), _latency(rounds, 95, idle)],
    )


def _rates(rounds: Sequence[Round], runs: int) -> list[str]:
    weft = [item.weft.batch.rate for item in rounds]
    celery = [item.celery.batch.rate for item in rounds]
    ratios = [ours / theirs for ours, theirs in zip(weft, celery, strict=True)]
    return [f"nodes/s, {runs} runs at once", *(_shown(spread(values)) for values in (weft, celery)), _ratio(ratios)]


def _history(rounds: Sequence[Round]) -> list[str]:
    rates = [item.weft.batch.history_rate for item in rounds]
    return ["the same, until the history of all runs is complete", _shown(spread(rates)), "keeps none", ""]


def _latency(rounds: Sequence[Round], percent: int, idle: int) -> list[str]:
    weft = percentile([seconds for item in rounds for seconds in item.weft.idle], percent)
    celery = percentile([seconds for item in rounds for seconds in item.celery.idle], percent)
    name = f"ms for a run on the idle system, p{percent} of {idle}"
    return [name, f"{weft * 1000:.0f}", f"{celery * 1000:.0f}", f"{weft / celery:.2f}"]


def _single_rounds(rounds: Sequence[Round]) -> list[str]:
    rows = [
        [
            str(number),
            f"{item.weft.batch.rate:.0f}",
            f"{item.celery.batch.rate:.0f}",
            f"{item.weft.batch.rate / item.celery.batch.rate:.2f}",
            f"{percentile(item.weft.idle, 50) * 1000:.0f}",
            f"{percentile(item.celery.idle, 50) * 1000:.0f}",
        ]
        for number, item in enumerate(rounds, start=1)
    ]
    return to_table(["round", "Weft nodes/s", "Celery nodes/s", "ratio", "Weft p50 ms", "Celery p50 ms"], rows)


def _memory(memory: Sequence[Memory]) -> list[str]:
    total = Memory(
        "sum",
        resident=sum(item.resident for item in memory),
        proportional=sum(item.proportional for item in memory),
        unique=sum(item.unique for item in memory),
    )
    rows = [
        [item.name, *(f"{size / _MIB:.0f}" for size in (item.resident, item.proportional, item.unique))]
        for item in (*memory, total)
    ]
    return to_table(["idle service", "RSS, MiB", "PSS, MiB", "USS, MiB"], rows)


def _shown(values: Spread) -> str:
    return f"{values.median:.0f} ({values.lowest:.0f} to {values.highest:.0f})"


def _ratio(ratios: Sequence[float]) -> str:
    values = spread(ratios)
    return f"**{values.median:.2f}** ({values.lowest:.2f} to {values.highest:.2f})"
