"""How commands that start runs end: with the run's results, or with its id."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from cli.commands.options import OutcomeFlags, gateway_url
from cli.errors import ExitCode
from cli.output import Output
from shared.contracts.queries import RunView
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.client import AsyncClient


def conclude(begin: "Callable[[AsyncClient], Awaitable[RunView]]", settings: Settings, how: OutcomeFlags) -> ExitCode:
    """Start a run, and follow it or not."""
    if how.follow:
        return follow_to_end(begin, settings, timeout=how.timeout, output=how.output)
    return tell_id(begin, settings, output=how.output)


def follow_to_end(
    begin: "Callable[[AsyncClient], Awaitable[RunView]]", settings: Settings, *, timeout: float | None, output: Output
) -> ExitCode:
    """Start a run, show how it goes on, write its results; return the exit code that its end asks for."""
    from cli.display import is_drawn, show_progress  # noqa: PLC0415 -- see the package
    from cli.render import write_result  # noqa: PLC0415 -- see the package
    from cli.runner import execute  # noqa: PLC0415 -- see the package

    with show_progress() as on_change:
        following = execute(gateway_url(settings), begin, on_change, patience=timeout, draws=is_drawn())
        run = asyncio.run(following)
    write_result(run, settings.assets_url, output)
    return ExitCode.OK if run.status == "completed" else ExitCode.RUN_FAILED


def tell_id(begin: "Callable[[AsyncClient], Awaitable[RunView]]", settings: Settings, *, output: Output) -> ExitCode:
    """Start a run, and write its id."""
    from cli.render import write_json, write_line  # noqa: PLC0415 -- see the package
    from cli.runner import start_only  # noqa: PLC0415 -- see the package

    run_id = str(asyncio.run(start_only(gateway_url(settings), begin)))
    if output is Output.JSON:
        write_json({"runId": run_id})
    else:
        write_line(run_id)
    return ExitCode.OK
