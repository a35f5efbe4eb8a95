"""The loads that are batches of runs with bodies that do nothing, given to every side in the same way."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measures import Measured
from benchmarks.peers.registry import BARE, BARE_TOGETHER
from benchmarks.shapes import Shape, chain, sample, wide
from benchmarks.sides import RunningSide, Side
from benchmarks.spending import Meter
from benchmarks.weft_side import WeftSide

LEAST = 3  # batches, and runs to warm up, of a side that is given fewer: so that there is a median, and nobody is cold


@dataclass(frozen=True, slots=True)
class Load:
    """So many runs of a workflow at once, and that again so many times, one batch after the other.

    `sides` names those that it is for, where it is not for all.
    """

    name: str
    title: str
    shape: Shape
    runs: int
    batches: int = 1
    sides: frozenset[str] | None = None

    def is_for(self, side: Side) -> bool:
        """Tell whether a side is given its part of it."""
        return side.can(self.shape) and (self.sides is None or side.name in self.sides)

    def measure(self, side: Side, running: RunningSide, meter: Meter) -> Measured:
        """Give a side its part of the load. Raises RunsLostError."""
        runs = max(1, self.runs // side.divisor)
        batches = self.batches if self.batches < LEAST else max(LEAST, self.batches // side.divisor)
        stop = meter.start()
        taken = [running.batch(self.shape, runs) for _ in range(batches)]
        return Measured(runs * batches * len(self.shape.nodes), taken, stop())


@dataclass(frozen=True, slots=True)
class Counts:
    """How large the loads are. `idle` is how many single runs a turn has; the others are runs at once."""

    burst: int = 500
    idle: int = 30
    width: int = 1_000
    wide: int = 4
    length: int = 1_000
    few: int = 5
    many: int = 100
    bodies: int = 60
    waiting: int = 10_000


QUICK = Counts(burst=100, idle=10, width=200, wide=2, length=100, few=4, many=20, bodies=12, waiting=500)


def batch_loads(counts: Counts) -> Sequence[Load]:
    """Return the loads that every side that can is given."""
    return (
        Load("burst", f"{counts.burst} runs of the sample at once", sample(), counts.burst),
        Load("idle", "One run of the sample, on the idle system", sample(), 1, counts.idle),
        Load(
            "wide",
            f"{counts.wide} runs at once, {counts.width:,} nodes wide, and a join",
            wide(counts.width),
            counts.wide,
        ),
        Load("deep", f"{counts.few} chains of {counts.length:,} at once", chain(counts.length), counts.few),
        Load(
            "chains",
            f"{counts.many} chains of {counts.length:,} at once",
            chain(counts.length),
            counts.many,
            sides=frozenset({WeftSide.name, BARE.name, BARE_TOGETHER.name}),  # others take minutes for them
        ),
    )
