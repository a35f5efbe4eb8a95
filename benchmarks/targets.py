"""What the figures are to be, each as a ratio of two measurements of one command."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.loads.bodies import Both
from benchmarks.loads.drain import Drained
from benchmarks.measures import Measured, Round, Turn, spread
from benchmarks.peers.registry import BARE, BARE_TOGETHER, CELERY, DBOS
from benchmarks.weft_side import WeftSide

WEFT = WeftSide.name
FLAT = 1.1  # a service holds no more memory after a backlog than this, in units of what it held before


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio, round by round, that is to be at least, or at most, so much."""

    text: str
    aim: float
    at_least: bool
    ratios: Sequence[float]

    def row(self) -> list[str]:
        """Return the cells of its row: what, aim, median and range, whether it is reached."""
        found = spread(self.ratios)
        reached = found.median >= self.aim if self.at_least else found.median <= self.aim
        aim = f"{'at least' if self.at_least else 'at most'} {self.aim:g}"
        return [
            self.text,
            aim,
            found.shown_as_ratio(),
            "yes" if reached else "no",
        ]


def targets(rounds: Sequence[Round], both: Sequence[Both], drained: Drained | None) -> Iterator[Target]:
    """Yield the targets that were measured."""
    for target in _of_rounds(rounds):
        if target.ratios:
            yield target
    if both:
        ratios = [item.bare / item.weft for item in both]
        yield Target("real bodies: throughput, to the same bodies without an engine", 0.9, at_least=True, ratios=ratios)
    if drained:
        nodes, crops = (rates.last / rates.first for rates in (drained.nodes, drained.crops))
        memory = max(drained.after[name] / drained.before[name] for name in drained.before)
        yield Target("a backlog: the rate at its end, to that at its start", 0.9, at_least=True, ratios=[nodes])
        yield Target("a backlog: the rate of crops, at their end and start", 0.9, at_least=True, ratios=[crops])
        yield Target("a backlog: memory of orchestrator and tracker, to before", FLAT, at_least=False, ratios=[memory])


def _of_rounds(rounds: Sequence[Round]) -> Iterator[Target]:
    def to_peer(name: str, load: str, of: Callable[[Measured, Measured], float]) -> list[float]:
        pairs = [(item.get(WEFT, {}).get(load), item.get(name, {}).get(load)) for item in rounds]
        return [of(ours, theirs) for ours, theirs in pairs if ours and theirs]

    for peer, aim in ((CELERY.name, 2.5), (DBOS.name, 4.0), (BARE.name, 0.6), (BARE_TOGETHER.name, 0.6)):
        yield Target(f"burst: nodes/s, to {peer}", aim, at_least=True, ratios=to_peer(peer, "burst", _rates))
    yield Target("idle: p50, to Celery", 1.0, at_least=False, ratios=to_peer(CELERY.name, "idle", _medians))
    for load in ("wide", "deep", "chains"):
        turns = [item.get(WEFT, {}) for item in rounds]
        yield Target(f"{load}: time per node, to burst", 1.3, at_least=False, ratios=_to_burst(turns, load, _rates))
        yield Target(f"{load}: CPU per node, to burst", 1.3, at_least=False, ratios=_to_burst(turns, load, _cpu))


def _to_burst(turns: Sequence[Turn], load: str, of: Callable[[Measured, Measured], float]) -> list[float]:
    return [of(turn["burst"], turn[load]) for turn in turns if load in turn and "burst" in turn]


def _rates(ours: Measured, theirs: Measured) -> float:
    return ours.rate / theirs.rate


def _medians(ours: Measured, theirs: Measured) -> float:
    return ours.percentile(50) / theirs.percentile(50)


def _cpu(burst: Measured, other: Measured) -> float:
    return other.cpu_per_node / burst.cpu_per_node
