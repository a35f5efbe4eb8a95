"""What the commands of this folder have in common: options, exit codes, how they end, servers, heads of reports."""

import argparse
import platform
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from types import FrameType

from benchmarks.machine import describe_machine
from benchmarks.measures import RunsLostError
from shared.contracts.errors import WeftError
from shared.embedded.processes import tail
from shared.embedded.stack import EmbeddedStack
from shared.logs import configure_logs
from shared.service import EXIT_UNAVAILABLE
from shared.settings import Settings
from shared.setup import set_up

EXIT_LOST = 1
EXIT_INTERRUPTED = 128 + signal.SIGINT
SHOWN_LINES, SHOWN_CHARACTERS = 10, 400  # of each log, when something went wrong

# What measures is given what stops, at the end, all that it starts, and a folder, which is gone then, too; it returns
# the report.
Measure = Callable[[ExitStack, Path], str]


def run_command(measure: Measure, *, head: str = "", output: Path | None = None, parent: Path | None = None) -> int:
    """Measure, print the report below its head, write both to `output`, too; return the exit code.

    0 measured, 1 something was lost (RunsLostError), 69 something that is needed cannot be had (any WeftError), 130
    interrupted. Before the folder goes, which is made in `parent` or where the system has such, the ends of the logs
    are shown that are under `logs` in it, if it went wrong.
    """
    configure_logs("benchmark", log_format="console", level="WARNING")
    _install_handlers()
    try:
        report = head + _measure_in_folder(measure, parent)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except RunsLostError as err:
        say(f"lost: {err}")
        return EXIT_LOST
    except WeftError as err:
        say(str(err))
        return EXIT_UNAVAILABLE
    print(report)
    if output:
        output.write_text(report)
    return 0


def _install_handlers() -> None:
    # A shell has what scripts start in the background ignore Ctrl-C; then `leave` would do nothing.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, leave)


def _measure_in_folder(measure: Measure, parent: Path | None) -> str:
    with tempfile.TemporaryDirectory(prefix="weft-benchmark-", dir=parent) as folder, ExitStack() as resources:
        try:
            return measure(resources, Path(folder))
        except (RunsLostError, WeftError):
            _show_logs(Path(folder))
            raise


def _show_logs(folder: Path) -> None:
    for log in sorted(folder.glob("logs/**/*.log")):
        lines = (line[:SHOWN_CHARACTERS] for line in tail(log)[-SHOWN_LINES:])
        say("\n".join([f"--- {log.relative_to(folder)}", *lines]))


def new_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser for the options of `python -m benchmarks.<name>`: `--output`, and what is added to it."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument("--output", type=Path, help="write the report to this file, too")
    return parser


def head_of_report(name: str, *, title: str = "", packages: Sequence[str] = ()) -> str:
    """Return what stands above a report: title, command line, machine, and the versions of Python and of `packages`.

    To be called before anything is measured: it tells how busy the machine is.
    """
    command = " ".join([f"python -m benchmarks.{name}", *sys.argv[1:]])
    versions = [f"Python {platform.python_version()}", *(f"{package} {version(package)}" for package in packages)]
    parts = [f"# {title}"] if title else []
    parts += [f"`{command}`", f"{describe_machine()}. {', '.join(versions)}."]
    return "".join(f"{part}\n\n" for part in parts)


def leave(_number: int, _frame: FrameType | None) -> None:
    """Be asked to end as by Ctrl-C: what was started is stopped on the way out.

    An exception raised right here would get lost if it came while a callback runs; asyncio waits for a better moment.
    """
    signal.raise_signal(signal.SIGINT)


def start_stack(resources: ExitStack, folder: Path) -> Settings:
    """Start a private PostgreSQL and RabbitMQ with everything set up; `resources` stops them."""
    say("starting PostgreSQL and RabbitMQ")
    urls = resources.enter_context(EmbeddedStack(folder / "stack"))
    settings = Settings(
        home=folder / "stack", amqp_url=urls.amqp_url, database_url=urls.database_url, assets_url=urls.assets_url
    )
    set_up(settings)
    return settings


def positive(text: str) -> int:
    """Return the number that an option gives; refuse one below 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def say(text: str) -> None:
    """Tell how it goes, on stderr."""
    print(text, file=sys.stderr, flush=True)
