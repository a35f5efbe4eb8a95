"""The rounds: in each, every side is started, does its part of each load, and is stopped, before the next one is.

So nothing of one side's work, nor of its idling, falls into another's turn.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.command import say
from benchmarks.loads.batches import LEAST, Load
from benchmarks.measures import Measured, Round, RunsLostError, Turn
from benchmarks.shapes import sample
from benchmarks.sides import Servers, Side
from benchmarks.spending import Meter
from benchmarks.targets import WEFT

StartServers = Callable[[ExitStack, Path], Servers]  # which are stopped with what they are given, and live in a folder

WARM_UP_RUNS = 20
ATTEMPTS = 3  # turns of a peer in a round, where it loses runs


class Comparison:
    """Measures sides in turn, on the same servers; `versions` are of what was measured so far.

    A peer that loses runs has its turn again, on servers of its own, since what it has lost may still be in their
    queues; `lost` tells of it. Where Weft loses one, nothing more is measured.
    """

    def __init__(
        self,
        sides: Sequence[Side],
        loads: Sequence[Load],
        servers: Servers,
        folder: Path,
        *,
        start_servers: StartServers,
    ) -> None:
        self._sides = sides
        self._loads = loads
        self._servers = servers
        self._folder = folder
        self._start_servers = start_servers
        self.versions: dict[str, Mapping[str, str]] = {}
        self.lost: list[str] = []

    def round(self, number: int) -> Round:
        """Measure all sides; another one begins in each round. Raises RunsLostError."""
        first = number % len(self._sides)
        order = (*self._sides[first:], *self._sides[:first])
        return {side.name: self._turn_without_loss(side, number) for side in order}

    def _turn_without_loss(self, side: Side, number: int) -> Turn:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with ExitStack() as resources:
                    folder = self._folder / side.name / f"{number + 1}.{attempt}"
                    servers = self._servers if attempt == 1 else self._start_servers(resources, folder / "servers")
                    return self._turn(side, number, servers, folder)
            except RunsLostError as err:
                if side.name == WEFT or attempt == ATTEMPTS:
                    raise
                say(f"round {number + 1}, lost: {err}")
                self.lost.append(f"Round {number + 1}, {err}; its turn was measured again")
        raise AssertionError("the last attempt returns or raises")

    def _turn(self, side: Side, number: int, servers: Servers, folder: Path) -> Turn:
        meter = Meter(servers.settings)
        with ExitStack() as resources:
            running = side.start(resources, servers, folder)
            self.versions[side.name] = running.versions
            running.batch(sample(), max(LEAST, WARM_UP_RUNS // side.divisor))
            turn = {load.name: load.measure(side, running, meter) for load in self._loads if load.is_for(side)}
        say(f"round {number + 1}, {side.name}: {', '.join(_told(name, measured) for name, measured in turn.items())}")
        return turn


def _told(load: str, measured: Measured) -> str:
    if len(measured.batches) > 1:
        return f"{load} {measured.percentile(50) * 1000:.0f} ms"
    return f"{load} {measured.rate:.0f} nodes/s"
