"""`python -m tests.chaos`: everything that can go wrong, at full scale, in 20 minutes at most; prints a table.

WEFT_CHAOS_FACTOR=10 repeats the faults for ten times as long, in 200 minutes at most.

The simulation of the protocol runs beside the fault tests, in two processes that take what these leave of the machine.
Arguments are handed to pytest, to choose among the fault tests.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import pytest
from tests.chaos.scale import FACTOR

from shared.embedded.processes import clean_environment

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = int(20 * 60 * FACTOR)
CLOSING_SECONDS = 45  # kept for stopping everything in order
EXAMPLES = 10_000
SIMULATIONS = 2
LEAST_URGENT = 19
SIMULATION = ("tests/simulation/test_protocol.py", "-k", "settles_clean", "-q", "-p", "no:cacheprovider")
HEADER = ("fault", "done", "result", "seconds")


class Results:
    """A plugin of pytest's that collects what the tests measured, and how they ended."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, ...]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        noted = [str(value) for name, value in report.user_properties if name == "measured"]
        noted = noted or ([] if report.passed else [f"? | {report.nodeid.rpartition('::')[2]} | not clean"])
        for row in noted:
            fault, done, result = row.split(" | ")
            self.rows.append((fault, done, result if report.passed else f"FAILED: {result}", f"{report.duration:.0f}"))


class Simulation:
    """A part of the simulation as a process: its examples come from a seed of its own."""

    def __init__(self, seed: int) -> None:
        environment = {**clean_environment("WEFT_", "CI"), "WEFT_SIMULATION_EXAMPLES": str(EXAMPLES // SIMULATIONS)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *SIMULATION, f"--hypothesis-seed={seed}"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        os.setpriority(os.PRIO_PROCESS, self._process.pid, LEAST_URGENT)

    def stop(self) -> None:
        """Interrupt it if it has not ended; its servers are stopped in order."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.communicate()

    def row(self) -> tuple[str, ...]:
        """Wait for its end, and return its row of the table."""
        output, _ = self._process.communicate()
        clean = self._process.returncode == 0
        if not clean:
            sys.stdout.write(output)
        result = "all settled clean" if clean else "FAILED"
        return "simulation", f"{EXAMPLES // SIMULATIONS} histories", result, "meanwhile"


def main(arguments: Sequence[str]) -> int:
    """Run everything; return 0 if all of it was clean."""
    os.environ["WEFT_CHAOS"] = "full"
    os.environ.pop("CI", None)
    results, started = Results(), time.monotonic()
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(LIMIT_SECONDS - CLOSING_SECONDS)
    with ExitStack() as resources:
        simulations = [] if arguments else [Simulation(seed) for seed in range(SIMULATIONS)]
        for simulation in simulations:
            resources.callback(simulation.stop)
        code = pytest.main(["tests/chaos", "-q", *arguments], plugins=[results])
        if code not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
            results.rows.append(("?", "not all tests were run", f"FAILED: pytest ended with {code}", ""))
        results.rows += [simulation.row() for simulation in simulations]
    _print(results.rows)
    sys.stdout.write(f"\n{time.monotonic() - started:.0f} s in all\n")
    return int(code) or any("FAILED" in row[2] for row in results.rows)


def _give_up(_number: int, _frame: FrameType | None) -> None:
    sys.stdout.write(f"\ngiven up: {LIMIT_SECONDS - CLOSING_SECONDS} s are over\n")
    raise KeyboardInterrupt


def _print(rows: Sequence[Sequence[str]]) -> None:
    by_number = sorted(rows, key=lambda row: int(row[0].split(",")[0]) if row[0][0].isdigit() else LIMIT_SECONDS)
    for cells in (HEADER, ["---"] * len(HEADER), *by_number):
        sys.stdout.write(f"| {' | '.join(cells)} |\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
