"""What is measured, what it comes to, and how that is shown.

Only the standard library is imported here: some peers run in virtual environments of their own.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

PATIENCE = 120.0  # seconds for all runs of a batch; a limit for a broken system
MIB = 2**20  # bytes


class RunsLostError(Exception):
    """Runs did not end, or not as they must."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Runs submitted at once: the seconds from the first submission to the end of the last run.

    `history_seconds` is until the complete history of all of them was in the database, for who keeps one.
    """

    seconds: float
    history_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """What was used meanwhile: CPU seconds by the name of the process, bytes of all databases and of their log."""

    cpu: Mapping[str, float]
    database: int
    log: int

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of all processes."""
        return sum(self.cpu.values())


@dataclass(frozen=True, slots=True)
class Measured:
    """A load on one side, in one round: `nodes` in all its batches, one batch after the other."""

    nodes: int
    batches: Sequence[Batch]
    spent: Spent

    @property
    def rate(self) -> float:
        """Nodes per second until the last run ended."""
        return self.nodes / sum(batch.seconds for batch in self.batches)

    @property
    def history_rate(self) -> float | None:
        """Nodes per second until the history was complete; None for who keeps none."""
        known = [batch.history_seconds for batch in self.batches if batch.history_seconds is not None]
        return self.nodes / sum(known) if known else None

    @property
    def cpu_per_node(self) -> float:
        """CPU seconds per node, of everything that was started."""
        return self.spent.cpu_seconds / self.nodes

    def percentile(self, percent: float) -> float:
        """Return the seconds that so many of the batches did not exceed."""
        return percentile([batch.seconds for batch in self.batches], percent)


# What a side did in a round, by the name of the load; and all sides' of a round, by the name of the side.
Turn = Mapping[str, Measured]
Round = Mapping[str, Turn]


@dataclass(frozen=True, slots=True)
class Spread:
    """A median, and the range it is from."""

    median: float
    lowest: float
    highest: float

    def shown(self, digits: int = 0) -> str:
        """Return it as reports show figures, with so many digits behind the point: `2,423 (2,384 to 2,462)`."""
        return f"{self.median:,.{digits}f} {self._range(digits)}"

    def shown_as_ratio(self) -> str:
        """Return it as reports show ratios: `**0.74** (0.70 to 0.78)`."""
        return f"**{self.median:,.2f}** {self._range(2)}"

    def _range(self, digits: int) -> str:
        return f"({self.lowest:,.{digits}f} to {self.highest:,.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    """Return median and range of at least one value."""
    return Spread(median(values), min(values), max(values))


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of the values do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def to_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
