"""`python -m benchmarks.run`: Weft and its peers in turn, on the same servers and machine; a report, and a picture.

Exit codes: 0 measured, 1 a run was lost, 69 something that is needed cannot be had, 130 interrupted.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.command import positive, run_command, start_stack
from benchmarks.comparison import Comparison
from benchmarks.loads.batches import QUICK, Counts, batch_loads
from benchmarks.loads.bodies import Both, measure_bodies
from benchmarks.loads.drain import Drained, measure_drain
from benchmarks.machine import describe_machine, server_versions
from benchmarks.memory import measure_services
from benchmarks.peers.registry import PEERS
from benchmarks.redis_server import start_redis
from benchmarks.report import Report
from benchmarks.sides import Servers, Side
from benchmarks.weft_side import WeftSide

RESULTS = Path(__file__).with_name("RESULTS.md")
ROUNDS, QUICK_ROUNDS = 3, 1
LOADS = ("burst", "idle", "wide", "deep", "chains", "bodies", "drain")


def main() -> int:
    """Measure as the command line says, write the report and print it."""
    options = _parse_options()
    return run_command(partial(_measure, options=options), output=options.output)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="Measure Weft beside its peers.")
    names = [side.name for side in _sides()]
    parser.add_argument("--quick", action="store_true", help="small counts and one round, to see that it works")
    parser.add_argument("--rounds", type=positive, help=f"turns of each side (default {ROUNDS}, quick {QUICK_ROUNDS})")
    parser.add_argument("--sides", nargs="+", default=names, choices=names, help="who is measured (default: all)")
    parser.add_argument("--loads", nargs="+", default=LOADS, choices=LOADS, help="with what (default: all)")
    parser.add_argument("--output", type=Path, help=f"the report's file (default {RESULTS.name}, quick none)")
    for name in Counts.__dataclass_fields__:
        parser.add_argument(
            f"--{name}", type=positive, help=f"default {getattr(Counts(), name)}, quick {getattr(QUICK, name)}"
        )
    options = parser.parse_args()
    counted = any(getattr(options, name) for name in Counts.__dataclass_fields__)
    is_whole = not (options.quick or counted) and [*options.sides] == names and [*options.loads] == [*LOADS]
    options.output = options.output or (RESULTS if is_whole else None)
    options.rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    return options


def _counts(options: argparse.Namespace) -> Counts:
    asked = {name: getattr(options, name) for name in Counts.__dataclass_fields__ if getattr(options, name)}
    return replace(QUICK if options.quick else Counts(), **asked)


def _sides() -> Sequence[Side]:
    return (WeftSide(), *PEERS)


def _measure(resources: ExitStack, folder: Path, *, options: argparse.Namespace) -> str:
    machine, counts = describe_machine(), _counts(options)
    sides = [side for side in _sides() if side.name in options.sides]
    for side in sides:
        side.prepare()
    servers = _start_servers(resources, folder)
    loads = [load for load in batch_loads(counts) if load.name in options.loads]
    logs = folder / "logs"
    comparison = Comparison(sides, loads, servers, logs, start_servers=_start_servers)
    memory = measure_services(servers.settings, folder / "idle")
    rounds = [comparison.round(number) for number in range(options.rounds)] if loads else []
    report = Report(
        command=" ".join(["python -m benchmarks.run", *sys.argv[1:]]),
        machine=machine,
        turns=options.rounds,
        sides=options.sides,
        with_database={WeftSide.name, *(peer.name for peer in PEERS if peer.database)},
        setups={peer.name: peer.setup for peer in PEERS if peer.name in options.sides},
        loads=loads,
        memory=memory,
        rounds=rounds,
        lost=comparison.lost,
        both=_bodies(servers, logs, counts, options),
        drained=_drain(servers, logs, counts, options),
        versions={**servers.versions, **_flat(comparison.versions)},
    )
    return _written(report, options.output)


def _start_servers(resources: ExitStack, folder: Path) -> Servers:
    settings = start_stack(resources, folder)
    redis_url = start_redis(resources, folder / "redis")
    return Servers(settings, redis_url, server_versions(settings, redis_url))


def _bodies(servers: Servers, logs: Path, counts: Counts, options: argparse.Namespace) -> Sequence[Both]:
    if "bodies" not in options.loads:
        return []
    return measure_bodies(servers.settings, logs / "bodies", runs=counts.bodies, rounds=options.rounds)


def _drain(servers: Servers, logs: Path, counts: Counts, options: argparse.Namespace) -> Drained | None:
    if "drain" not in options.loads:
        return None
    return measure_drain(servers.settings, logs / "drain", runs=counts.waiting)


def _flat(versions: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    return {name: version for of_side in versions.values() for name, version in of_side.items()}


def _written(report: Report, output: Path | None) -> str:
    """Return the report; its picture is written beside the file that it will be in."""
    if output is None:
        return report.to_markdown()
    picture = output.with_suffix(".svg")
    picture.write_text(report.to_picture())
    return report.to_markdown(picture.name)


if __name__ == "__main__":
    sys.exit(main())
