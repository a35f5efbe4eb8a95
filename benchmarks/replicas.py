"""`python -m benchmarks.replicas`: what one, two and three orchestrators, and run trackers, cost each other.

All on one machine, to whose cores more replicas add nothing: what is measured is their contention, in the journal's
locks, in the history's rows, and in smaller batches. Exit codes as those of `benchmarks.run`.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.command import EXIT_INTERRUPTED, EXIT_LOST, leave, positive, say, start_stack
from benchmarks.loads.batches import Load
from benchmarks.machine import describe_machine
from benchmarks.measures import Measured, RunsLostError
from benchmarks.report import to_table
from benchmarks.shapes import sample
from benchmarks.sides import Servers
from benchmarks.spending import Meter
from benchmarks.weft_side import WORKERS, WeftSide
from shared.logs import configure_logs
from shared.settings import Settings

WARM_UP_RUNS, RUNS = 50, 500


@dataclass(frozen=True, slots=True)
class Deployment:
    """How many replicas there are of the services that work in batches."""

    orchestrators: int = 1
    trackers: int = 1

    def services(self) -> dict[str, Sequence[str]]:
        """Return by name what each process is started with."""
        replicas = {"orchestrator": self.orchestrators, "run_tracker": self.trackers}
        named = {f"{name} {number + 1}": [name] for name, count in replicas.items() for number in range(count)}
        return {**named, **WORKERS}


DEPLOYMENTS = (Deployment(), Deployment(2), Deployment(3), Deployment(1, 2), Deployment(1, 3), Deployment(2, 2))


def _measure(settings: Settings, deployment: Deployment, folder: Path) -> Measured:
    side, load = WeftSide(deployment.services()), Load("burst", "", sample(), RUNS)
    with ExitStack() as resources:
        running = side.start(resources, Servers(settings, "", {}), folder)
        running.batch(sample(), WARM_UP_RUNS)
        return load.measure(side, running, Meter(settings))


def _report(measured: Sequence[Sequence[Measured]]) -> str:
    rows = [
        [
            str(deployment.orchestrators),
            str(deployment.trackers),
            *(f"{median(figures):.{digits}f}" for figures, digits in _figures(measured, number)),
        ]
        for number, deployment in enumerate(DEPLOYMENTS)
    ]
    header = ["orchestrators", "run trackers", "nodes/s", "to the first", "CPU ms per node", "to the first"]
    return "\n".join(to_table(header, rows)) + "\n"


def _figures(measured: Sequence[Sequence[Measured]], number: int) -> list[tuple[list[float], int]]:
    """Return the figures of a deployment in each round, and with how many digits they are shown."""
    return [
        ([one[number].rate for one in measured], 0),
        ([one[number].rate / one[0].rate for one in measured], 2),
        ([one[number].cpu_per_node * 1000 for one in measured], 2),
        ([one[number].cpu_per_node / one[0].cpu_per_node for one in measured], 2),
    ]


def main() -> int:
    """Measure, and print the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replicas", description=__doc__)
    parser.add_argument("--rounds", type=positive, default=3, help="turns of each deployment (default 3)")
    parser.add_argument("--output", type=Path, help="write the report to this file, too")
    options = parser.parse_args()
    configure_logs("benchmark", log_format="console", level="WARNING")
    signal.signal(signal.SIGTERM, leave)
    measured: list[list[Measured]] = []
    try:
        with tempfile.TemporaryDirectory(prefix="weft-benchmark-") as folder, ExitStack() as resources:
            settings = start_stack(resources, Path(folder))
            for number in range(options.rounds):
                say(f"round {number + 1}, {time.strftime('%H:%M:%S')}")
                logs = Path(folder) / "logs" / str(number)
                measured.append([_measure(settings, one, logs / str(place)) for place, one in enumerate(DEPLOYMENTS)])
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except RunsLostError as err:
        say(f"lost: {err}")
        return EXIT_LOST
    report = f"`python -m benchmarks.replicas`\n\n{describe_machine()}. {RUNS} runs of the sample at once.\n\n"
    report += _report(measured)
    if options.output:
        options.output.write_text(report)
    print(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
