"""The rounds: in each, every side is started, does its part of each load, and is stopped, before the next one is.

So nothing of one side's work, nor of its idling, falls into another's turn.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.command import say
from benchmarks.loads.batches import Load
from benchmarks.measures import Measured, Round, RunsLostError, Turn
from benchmarks.shapes import sample
from benchmarks.sides import Servers, Side
from benchmarks.spending import Meter
from benchmarks.targets import WEFT

WARM_UP_RUNS = 20
ATTEMPTS = 3  # turns of a peer in a round, where it loses runs


class Comparison:
    """Measures sides in turn, on the same servers; `versions` are of what was measured so far.

    A peer that loses runs has its turn again, and `lost` tells of it. Where Weft loses one, nothing more is measured.
    """

    def __init__(self, sides: Sequence[Side], loads: Sequence[Load], servers: Servers, folder: Path) -> None:
        self._sides = sides
        self._loads = loads
        self._servers = servers
        self._folder = folder
        self._meter = Meter(servers.settings)
        self.versions: dict[str, Mapping[str, str]] = {}
        self.lost: list[str] = []

    def round(self, number: int) -> Round:
        """Measure all sides; another one begins in each round. Raises RunsLostError."""
        first = number % len(self._sides)
        order = (*self._sides[first:], *self._sides[:first])
        return {side.name: self._turn_without_loss(side, number) for side in order}

    def _turn_without_loss(self, side: Side, number: int) -> Turn:
        for attempt in range(1, ATTEMPTS):
            try:
                return self._turn(side, number, f"{number + 1}.{attempt}")
            except RunsLostError as err:
                if side.name == WEFT:
                    raise
                say(f"round {number + 1}, lost: {err}")
                self.lost.append(f"Round {number + 1}, {err}; its turn was measured again")
        return self._turn(side, number, f"{number + 1}.{ATTEMPTS}")

    def _turn(self, side: Side, number: int, folder: str) -> Turn:
        with ExitStack() as resources:
            running = side.start(resources, self._servers, self._folder / side.name / folder)
            self.versions[side.name] = running.versions
            running.batch(sample(), max(1, WARM_UP_RUNS // side.divisor))
            turn = {load.name: load.measure(side, running, self._meter) for load in self._loads if load.is_for(side)}
        say(f"round {number + 1}, {side.name}: {', '.join(_told(name, measured) for name, measured in turn.items())}")
        return turn


def _told(load: str, measured: Measured) -> str:
    if len(measured.batches) > 1:
        return f"{load} {measured.percentile(50) * 1000:.0f} ms"
    return f"{load} {measured.rate:.0f} nodes/s"
