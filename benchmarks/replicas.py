"""`python -m benchmarks.replicas`: what one, two and three orchestrators, and run trackers, cost each other.

All on one machine, to whose cores more replicas add nothing: what is measured is their contention, in the journal's
locks, in the history's rows, and in smaller batches. Exit codes as those of `benchmarks.run`.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.command import head_of_report, new_parser, positive, run_command, say, start_stack
from benchmarks.loads.batches import Load
from benchmarks.measures import Measured, spread, to_table
from benchmarks.shapes import sample
from benchmarks.sides import Servers
from benchmarks.spending import Meter
from benchmarks.weft_side import WORKERS, WeftSide
from shared.settings import Settings

WARM_UP_RUNS, RUNS = 50, 500


@dataclass(frozen=True, slots=True)
class Deployment:
    """How many replicas there are of the services that work in batches."""

    orchestrators: int = 1
    trackers: int = 1

    def services(self) -> Mapping[str, Sequence[str]]:
        """Return by name what each process is started with."""
        replicas = {"orchestrator": self.orchestrators, "run_tracker": self.trackers}
        named = {f"{name} {number + 1}": [name] for name, count in replicas.items() for number in range(count)}
        return {**named, **WORKERS}


FIRST = Deployment()
DEPLOYMENTS = (FIRST, Deployment(2), Deployment(3), Deployment(1, 2), Deployment(1, 3), Deployment(2, 2))
# What each deployment did in a round.
Turns = Mapping[Deployment, Measured]


def _measure(resources: ExitStack, folder: Path, *, rounds: int, runs: int) -> str:
    settings = start_stack(resources, folder)
    measured: list[Turns] = []
    for number in range(rounds):
        say(f"round {number + 1}, {time.strftime('%H:%M:%S')}")
        logs = folder / "logs" / str(number + 1)
        measured.append({one: _turn(settings, one, logs, runs) for one in DEPLOYMENTS})
    title = f"{runs} runs of the sample at once; medians (lowest to highest) of {rounds} rounds."
    return "\n".join([title, "", *_table(measured), ""])


def _turn(settings: Settings, deployment: Deployment, logs: Path, runs: int) -> Measured:
    side, load = WeftSide(deployment.services()), Load("burst", "", sample(), runs)
    folder = logs / f"{deployment.orchestrators} and {deployment.trackers}"
    with ExitStack() as resources:
        running = side.start(resources, Servers(settings, "", {}), folder)
        running.batch(sample(), min(WARM_UP_RUNS, runs))
        return load.measure(side, running, Meter(settings))


def _table(rounds: Sequence[Turns]) -> list[str]:
    header = ["orchestrators", "run trackers", "nodes/s", "to the first", "CPU ms per node", "to the first"]
    return to_table(header, [_row(rounds, deployment) for deployment in DEPLOYMENTS])


def _row(rounds: Sequence[Turns], deployment: Deployment) -> list[str]:
    turns, first = [turns[deployment] for turns in rounds], [turns[FIRST] for turns in rounds]
    rates = [turn.rate for turn in turns], [turn.rate for turn in first]
    cpu = [turn.cpu_per_node * 1000 for turn in turns], [turn.cpu_per_node * 1000 for turn in first]
    cells = [
        [spread(ours).shown(digits), "" if deployment == FIRST else _ratio(ours, firsts)]
        for (ours, firsts), digits in ((rates, 0), (cpu, 2))
    ]
    return [str(deployment.orchestrators), str(deployment.trackers), *cells[0], *cells[1]]


def _ratio(ours: Sequence[float], firsts: Sequence[float]) -> str:
    """Return the ratios of the rounds."""
    return spread([our / first for our, first in zip(ours, firsts, strict=True)]).shown_as_ratio()


def main() -> int:
    """Measure, and print the report."""
    parser = new_parser("replicas", __doc__)
    parser.add_argument("--rounds", type=positive, default=3, help="turns of each deployment (default 3)")
    parser.add_argument("--runs", type=positive, default=RUNS, help=f"runs at once (default {RUNS})")
    options = parser.parse_args()
    measure = partial(_measure, rounds=options.rounds, runs=options.runs)
    return run_command(measure, head=head_of_report("replicas"), output=options.output)


if __name__ == "__main__":
    sys.exit(main())
