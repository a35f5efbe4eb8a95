"""`python -m benchmarks.run`: Weft and Celery in turn, on the same broker and machine; a report on stdout.

Exit codes: 0 measured, 1 a run was lost, 69 something that is needed cannot be had, 130 interrupted.
"""

import argparse
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks import celery_side, weft_side
from benchmarks.machine import describe_machine, describe_versions
from benchmarks.measures import Round, RunsLostError
from benchmarks.memory import measure_services
from benchmarks.redis_server import start_redis
from benchmarks.report import Report
from shared.contracts.errors import WeftError
from shared.embedded.processes import tail
from shared.embedded.stack import EmbeddedStack
from shared.logs import configure_logs
from shared.service import EXIT_UNAVAILABLE
from shared.settings import Settings
from shared.setup import set_up

EXIT_LOST = 1
EXIT_INTERRUPTED = 128 + signal.SIGINT
WARM_UP_RUNS = 20
SHOWN_LINES, SHOWN_CHARACTERS = 10, 400  # of each log, when a run was lost


def main() -> int:
    """Measure as the command line says, and print the report."""
    options = _parse_options()
    configure_logs("benchmark", log_format="console", level="WARNING")
    signal.signal(signal.SIGTERM, leave)
    try:
        with tempfile.TemporaryDirectory(prefix="weft-benchmark-") as folder, ExitStack() as resources:
            report = _measure_or_show_logs(resources, Path(folder), options).to_markdown()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except RunsLostError as err:
        _say(f"lost: {err}")
        return EXIT_LOST
    except WeftError as err:
        _say(f"{err.code}: {err}")
        return EXIT_UNAVAILABLE
    if options.output:
        options.output.write_text(report)
    print(report)
    return 0


def leave(_number: int, _frame: FrameType | None) -> None:
    """Be asked to end as by Ctrl-C: what was started is stopped on the way out.

    An exception raised right here would get lost if it came while a callback runs; asyncio waits for a better moment.
    """
    signal.raise_signal(signal.SIGINT)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="Measure Weft beside Celery.")
    parser.add_argument("--runs", type=_positive, default=200, help="runs submitted at once (default 200)")
    parser.add_argument("--rounds", type=_positive, default=5, help="turns of each system (default 5)")
    parser.add_argument("--idle-runs", type=_positive, default=30, help="single runs per turn (default 30)")
    parser.add_argument("--output", type=Path, help="write the report to this file, too")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _measure_or_show_logs(resources: ExitStack, folder: Path, options: argparse.Namespace) -> Report:
    """Measure; before the logs go with their folder, show how they end if a run was lost."""
    try:
        return _measure(resources, folder, options)
    except RunsLostError:
        for log in sorted([*folder.glob("weft/*.log"), *folder.glob("celery/*.log")]):
            _say("\n".join([f"--- {log.name}", *(line[:SHOWN_CHARACTERS] for line in tail(log)[-SHOWN_LINES:])]))
        raise


def _measure(resources: ExitStack, folder: Path, options: argparse.Namespace) -> Report:
    machine = describe_machine()
    settings = start_stack(resources, folder)
    _say("measuring the memory of the idle services")
    memory = measure_services(settings, folder / "services")
    _say("starting Weft and Celery")
    weft_side.start_weft(resources, settings, folder / "weft")
    redis_url = start_redis(resources, folder / "redis")
    app = celery_side.start_celery(resources, settings.require("amqp_url"), redis_url, folder / "celery")
    _take_round(settings, app, runs=WARM_UP_RUNS, idle_runs=1)
    return Report(
        command=" ".join(["python -m benchmarks.run", *sys.argv[1:]]),
        machine=machine,
        versions=describe_versions(settings, redis_url),
        rounds=[_measured_round(settings, app, number, options) for number in range(1, options.rounds + 1)],
        memory=memory,
    )


def start_stack(resources: ExitStack, folder: Path) -> Settings:
    """Start a private PostgreSQL and RabbitMQ with everything set up; `resources` stops them."""
    _say("starting PostgreSQL and RabbitMQ")
    urls = resources.enter_context(EmbeddedStack(folder / "stack"))
    settings = Settings(
        home=folder / "stack", amqp_url=urls.amqp_url, database_url=urls.database_url, assets_url=urls.assets_url
    )
    set_up(settings)
    return settings


def _measured_round(settings: Settings, app: Any, number: int, options: argparse.Namespace) -> Round:
    measured = _take_round(settings, app, runs=options.runs, idle_runs=options.idle_runs)
    weft, celery = measured.weft.batch.rate, measured.celery.batch.rate
    _say(f"round {number} of {options.rounds}: Weft {weft:.0f}, Celery {celery:.0f} nodes/s")
    return measured


def _take_round(settings: Settings, app: Any, *, runs: int, idle_runs: int) -> Round:
    return Round(
        weft=weft_side.take_turn(settings, runs=runs, idle_runs=idle_runs),
        celery=celery_side.take_turn(app, runs=runs, idle_runs=idle_runs),
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
