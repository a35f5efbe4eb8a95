"""What is measured, and what it comes to."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

NODES = 8  # upload, three crops, three questions, one join
PATIENCE = 60.0  # seconds for all runs of a batch; a limit for a broken system


class RunsLostError(Exception):
    """Runs did not end, or not as they must."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Runs submitted at once. Seconds count from the first submission.

    `history_seconds` is until the complete history of all of them was in the database, for who keeps one.
    """

    runs: int
    seconds: float
    history_seconds: float | None = None

    @property
    def rate(self) -> float:
        """Nodes per second until the last run ended."""
        return self.runs * NODES / self.seconds

    @property
    def history_rate(self) -> float:
        """Nodes per second until the history was complete."""
        assert self.history_seconds is not None
        return self.runs * NODES / self.history_seconds


@dataclass(frozen=True, slots=True)
class Turn:
    """One system's part of a round: a batch, then single runs on the idle system (their seconds)."""

    batch: Batch
    idle: Sequence[float]


@dataclass(frozen=True, slots=True)
class Round:
    """Both systems, one after the other."""

    weft: Turn
    celery: Turn


@dataclass(frozen=True, slots=True)
class Spread:
    """A median, and the range it is from."""

    median: float
    lowest: float
    highest: float


def spread(values: Sequence[float]) -> Spread:
    """Return median and range of at least one value."""
    return Spread(median(values), min(values), max(values))


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of the values do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]
