"""`weft`: the command line. Results go to stdout, all else to stderr; errors are told in one line each."""

import logging
import sys
from collections.abc import Sequence

import typer

from cli.commands import costs, dead, doctor, history, keys, queues, run, runs, stack, workflows
from cli.errors import ExitCode, tell_defect, tell_error, tell_problem
from shared.contracts.errors import Problem, WeftError
from shared.logs import configure_logs


def create_app() -> typer.Typer:
    """Return the command line's application."""
    app = typer.Typer(
        name="weft",
        help="Run visual AI-image workflows: local stack, runs, queues.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    local = {"setup": stack.setup, "dev": stack.dev, "demo": stack.demo, "doctor": doctor.doctor}
    for name, command in {**local, "costs": costs.costs}.items():
        app.command(name)(command)
    groups = {"run": run, "runs": runs, "workflows": workflows, "queues": queues, "dead": dead}
    groups |= {"history": history, "keys": keys}
    for name, group in groups.items():
        app.add_typer(group.app, name=name)
    return app


def run_command(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name, and return the exit code; errors have been told by then."""
    configure_logs("cli", log_format="console", level="WARNING")
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # it logs each failed attempt; we tell of the last
    try:
        return create_app()(args=list(arguments), prog_name="weft", standalone_mode=False) or ExitCode.OK
    except WeftError as err:
        return tell_error(err)
    except typer.TyperException as err:
        return _tell_usage(err)
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except Exception as err:  # noqa: BLE001 -- the last line of defence: one line for people, the rest in a file
        return tell_defect(err)


def _tell_usage(err: typer.TyperException) -> int:
    context: typer.Context | None = getattr(err, "ctx", None)
    command = context.command_path if context else "weft"
    message = err.format_message().rstrip(".")
    tell_problem(Problem(code="usage", message=message, where=command, fix=f"see: {command} --help"))
    return err.exit_code


def main() -> None:
    """Be the process `weft`."""
    sys.exit(run_command(sys.argv[1:]))
