"""python -m tests.fuzz --count 100000: damaged pictures through real decoding processes.

Exit code 1 if a process died other than by its limits, or if an outcome was neither a picture nor a stable code.
"""

import argparse
import asyncio
import sys
import time
from statistics import median

from tests.fuzz.campaign import Outcome, fuzz

MAX_SHOWN = 50


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="how many pictures")
    parser.add_argument("--seed", type=int, default=1, help="which pictures; the same seed makes the same ones")
    parser.add_argument("--processes", type=int, default=1, help="how many decoding processes")
    options = parser.parse_args()
    started = time.monotonic()
    outcome = asyncio.run(fuzz(options.count, options.seed, options.processes, _tell))
    _report(outcome, time.monotonic() - started)
    return 1 if outcome.failures else 0


def _tell(number: int) -> None:
    if number % 10_000 == 0:
        print(f"{number} ...", file=sys.stderr, flush=True)  # noqa: T201


def _report(outcome: Outcome, seconds: float) -> None:
    lines = [f"{count:>8} {code}" for code, count in outcome.codes.most_common()]
    tenth = max(1, len(outcome.memory) // 10)
    first, last = (median(part) / 2**20 for part in (outcome.memory[:tenth], outcome.memory[-tenth:]))
    lines.append(f"largest process: {first:.0f} MiB in the first tenth, {last:.0f} MiB in the last (medians),")
    lines.append(f"{max(outcome.memory) / 2**20:.0f} MiB at most; {seconds:.0f} s; {len(outcome.failures)} failures")
    print("\n".join([*lines, *outcome.failures[:MAX_SHOWN]]))  # noqa: T201


sys.exit(main())
