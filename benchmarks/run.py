"""`python -m benchmarks.run`: Weft and its peers in turn, on the same servers and machine; a report, and a picture.

Exit codes: 0 measured, 1 a run was lost, 69 something that is needed cannot be had, 130 interrupted.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks.command import EXIT_INTERRUPTED, EXIT_LOST, leave, positive, say, start_stack
from benchmarks.comparison import Comparison
from benchmarks.loads.batches import QUICK, Counts, batch_loads
from benchmarks.loads.bodies import Both, measure_bodies
from benchmarks.loads.drain import measure_drain
from benchmarks.machine import describe_machine, server_versions
from benchmarks.measures import RunsLostError
from benchmarks.memory import measure_services
from benchmarks.peers.registry import PEERS
from benchmarks.redis_server import start_redis
from benchmarks.report import Report
from benchmarks.sides import Servers, Side
from benchmarks.weft_side import WeftSide
from shared.contracts.errors import WeftError
from shared.embedded.processes import tail
from shared.logs import configure_logs
from shared.service import EXIT_UNAVAILABLE

RESULTS = Path(__file__).with_name("RESULTS.md")
ROUNDS, QUICK_ROUNDS = 3, 1
LOADS = ("burst", "idle", "wide", "deep", "chains", "bodies", "drain")
SHOWN_LINES, SHOWN_CHARACTERS = 10, 400  # of each log, when a run was lost


def main() -> int:
    """Measure as the command line says, write the report and print it."""
    options = _parse_options()
    configure_logs("benchmark", log_format="console", level="WARNING")
    signal.signal(signal.SIGTERM, leave)
    try:
        with tempfile.TemporaryDirectory(prefix="weft-benchmark-") as folder, ExitStack() as resources:
            report = _measure_or_show_logs(resources, Path(folder), options)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except RunsLostError as err:
        say(f"lost: {err}")
        return EXIT_LOST
    except WeftError as err:
        say(f"{err.code}: {err}")
        return EXIT_UNAVAILABLE
    _write(report, options.output)
    return 0


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
    is_whole = not options.quick and [*options.sides] == names and [*options.loads] == [*LOADS]
    options.output = options.output or (RESULTS if is_whole else None)
    options.rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    return options


def _counts(options: argparse.Namespace) -> Counts:
    asked = {name: getattr(options, name) for name in Counts.__dataclass_fields__ if getattr(options, name)}
    return replace(QUICK if options.quick else Counts(), **asked)


def _sides() -> Sequence[Side]:
    return (WeftSide(), *PEERS)


def _measure_or_show_logs(resources: ExitStack, folder: Path, options: argparse.Namespace) -> Report:
    """Measure; before the logs go with their folder, show how they end if it went wrong."""
    try:
        return _measure(resources, folder, options)
    except (RunsLostError, WeftError):
        for log in sorted(folder.glob("logs/**/*.log")):
            say(
                "\n".join(
                    [f"--- {log.relative_to(folder)}", *(line[:SHOWN_CHARACTERS] for line in tail(log)[-SHOWN_LINES:])]
                )
            )
        raise


def _measure(resources: ExitStack, folder: Path, options: argparse.Namespace) -> Report:
    machine, counts = describe_machine(), _counts(options)
    sides = [side for side in _sides() if side.name in options.sides]
    for side in sides:
        side.prepare()
    settings = start_stack(resources, folder)
    redis_url = start_redis(resources, folder / "redis")
    servers = Servers(settings, redis_url, server_versions(settings, redis_url))
    loads = [load for load in batch_loads(counts) if load.name in options.loads]
    logs = folder / "logs"
    comparison = Comparison(sides, loads, servers, logs)
    memory = measure_services(settings, folder / "idle")
    rounds = [comparison.round(number) for number in range(options.rounds)] if loads else []
    return Report(
        command=" ".join(["python -m benchmarks.run", *sys.argv[1:]]),
        machine=machine,
        sides=options.sides,
        setups={peer.name: peer.setup for peer in PEERS if peer.name in options.sides},
        loads=loads,
        memory=memory,
        rounds=rounds,
        lost=comparison.lost,
        both=_bodies(servers, logs, counts, options),
        drained=measure_drain(settings, logs / "drain", runs=counts.waiting) if "drain" in options.loads else None,
        versions={**servers.versions, **_flat(comparison.versions)},
    )


def _bodies(servers: Servers, logs: Path, counts: Counts, options: argparse.Namespace) -> Sequence[Both]:
    if "bodies" not in options.loads:
        return []
    return measure_bodies(servers.settings, logs / "bodies", runs=counts.bodies, rounds=options.rounds)


def _flat(versions: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    return {name: version for of_side in versions.values() for name, version in of_side.items()}


def _write(report: Report, output: Path | None) -> None:
    picture = (output or RESULTS).with_suffix(".svg")
    text = report.to_markdown(picture.name)
    if output:
        output.write_text(text)
        picture.write_text(report.to_picture())
    print(text)


if __name__ == "__main__":
    sys.exit(main())
