"""`weft runs`: look at runs, and act on them."""

import asyncio
from typing import Annotated
from uuid import UUID

import typer

from cli.commands import run_control
from cli.commands.options import OutputOption, RunId, gateway_url
from cli.errors import ExitCode
from cli.output import Output
from shared.contracts.queries import MAX_PAGE, RunsReply, RunView
from shared.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Look at runs, and act on them.")

_COLUMNS = ("run", "status", "workflow", "started", "seconds", "succeeded", "failed", "skipped")


@app.command("list")
def list_runs(
    workflow: Annotated[UUID | None, typer.Option(help="only runs of the workflow with this id")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_PAGE, help="how many at most")] = 50,
    output: OutputOption = Output.TEXT,
) -> int:
    """List the newest runs."""
    from cli.render import write_json, write_table  # noqa: PLC0415 -- see the package

    runs = asyncio.run(_list(gateway_url(Settings.load()), workflow, limit))
    if output is Output.JSON:
        write_json(RunsReply(runs=runs))
    else:
        write_table(_COLUMNS, [_row(run) for run in runs])
    return ExitCode.OK


@app.command("get")
def get_run(
    run_id: RunId,
    output: OutputOption = Output.TEXT,
) -> int:
    """Show a run: its nodes, pictures, answers and errors."""
    from cli.render import write_json, write_run_in_full  # noqa: PLC0415 -- see the package

    settings = Settings.load()
    run = asyncio.run(_get(gateway_url(settings), run_id))
    if output is Output.JSON:
        write_json(run)
    else:
        write_run_in_full(run, settings.assets_url)
    return ExitCode.OK


for _name, _command in {
    "cancel": run_control.cancel_run,
    "resume": run_control.resume_run,
    "replay": run_control.replay_run,
    "why": run_control.explain_run,
}.items():
    app.command(_name)(_command)


async def _list(url: str, workflow_id: UUID | None, limit: int) -> tuple[RunView, ...]:
    from cli.client import connect  # noqa: PLC0415 -- see the package

    async with connect(url) as gateway:
        return await gateway.runs(workflow_id, limit)


async def _get(url: str, run_id: UUID) -> RunView:
    from cli.client import connect  # noqa: PLC0415 -- see the package

    async with connect(url) as gateway:
        return await gateway.run(run_id)


def _row(run: RunView) -> tuple[str, ...]:
    from cli.display import seconds_between  # noqa: PLC0415 -- see the package

    seconds = seconds_between(run.created_at, run.finished_at)
    return (
        str(run.run_id),
        run.status,
        run.workflow_name or "",
        run.created_at.strftime("%Y-%m-%d %H:%M:%S") if run.created_at else "",
        "" if seconds is None else f"{seconds:.2f}",
        f"{run.successful_nodes}/{run.total_nodes}",
        str(run.failed_nodes),
        str(run.skipped_nodes),
    )
