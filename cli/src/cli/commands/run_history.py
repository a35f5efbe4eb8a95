"""`weft runs events | timeline | watch | tail`: what happened to runs, and what happens to them."""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from cli.commands.asking import ask
from cli.commands.completion import offer_workflows
from cli.commands.options import (
    ListOutputOption,
    OutputOption,
    RunId,
    StreamOutputOption,
    TimeoutOption,
    gateway_url,
)
from cli.commands.outcome import follow_to_end
from cli.errors import ExitCode
from cli.output import ListOutput, Output, StreamOutput
from shared.contracts.queries import RunView
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.client import AsyncClient
    from shared.contracts.queries import WhyReply

_MOST_LINES = 200


def list_events(run_id: RunId, output: ListOutputOption = ListOutput.TEXT) -> int:
    """List all that happened to a run and its nodes, the earliest first."""
    from cli.happenings import history_of  # noqa: PLC0415 -- see the package
    from cli.render import write_history  # noqa: PLC0415 -- see the package

    write_history(history_of(ask(lambda gateway: gateway.run(run_id))), output)
    return ExitCode.OK


def show_timeline(
    run_id: RunId,
    *,
    limit: Annotated[int, typer.Option(min=1, help="how many attempts at most, the longest ones")] = _MOST_LINES,
    output: OutputOption = Output.TEXT,
) -> int:
    """Show when each attempt at each node waited for a worker and ran, as bars."""
    from cli.render import write_json, write_timeline  # noqa: PLC0415 -- see the package

    timeline = ask(lambda gateway: gateway.timeline(run_id))
    if output is Output.JSON:
        write_json(timeline)
    else:
        write_timeline(timeline, limit)
    return ExitCode.OK


def watch_run(run_id: RunId, *, timeout: TimeoutOption = None, output: OutputOption = Output.TEXT) -> int:
    """Follow a run live to its end, then print its results. Exit code 1: it failed, at least in part; 124: too late."""

    async def begin(gateway: "AsyncClient") -> RunView:
        # Without its nodes: then all that is known of them is news, and told.
        return (await gateway.run(run_id)).model_copy(update={"nodes": None})

    return follow_to_end(begin, Settings.load(), timeout=timeout, output=output)


def tail_runs(
    *,
    workflow: Annotated[
        UUID | None,
        typer.Option(
            help="runs of this workflow; else of the 20 that were saved last",
            show_default=False,
            autocompletion=offer_workflows,
        ),
    ] = None,
    timeout: TimeoutOption = None,
    output: StreamOutputOption = StreamOutput.TEXT,
) -> int:
    """Tell what happens to all runs, live, until Ctrl-C. Exit code 124: the time is over."""
    from cli.tail import tail  # noqa: PLC0415 -- see the package
    from cli.tail_lines import teller  # noqa: PLC0415 -- see the package

    tell = teller(output)
    asyncio.run(tail(gateway_url(Settings.load()), workflow, tell, patience=timeout))
    return ExitCode.OK


def watch_reasons(run_id: UUID, node_id: str | None, *, timeout: float | None, output: Output) -> ExitCode:
    """Tell what a run is waiting for, and again whenever that changes, until it ends."""
    from cli import reasons  # noqa: PLC0415 -- see the package
    from cli.render import write_explanation, write_json  # noqa: PLC0415 -- see the package

    def tell(reply: "WhyReply") -> None:
        if output is Output.JSON:
            write_json(reply)
        else:
            write_explanation(run_id, reply)
        sys.stdout.flush()

    asyncio.run(reasons.watch_reasons(gateway_url(Settings.load()), run_id, node_id, tell, patience=timeout))
    return ExitCode.OK
