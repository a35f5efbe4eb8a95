"""`weft runs`: look at runs, and act on them."""

from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import typer

from cli.commands import run_control, run_history
from cli.commands.asking import ask
from cli.commands.completion import offer_workflows
from cli.commands.options import OutputOption, RunId, TimeoutOption
from cli.commands.spread import spread
from cli.errors import ExitCode
from cli.output import Output
from shared.contracts.history import MAX_PAGE
from shared.contracts.queries import RunView
from shared.contracts.states import RunStatus
from shared.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Look at runs, and act on them.")

_COLUMNS = ("run", "status", "workflow", "started", "seconds", "succeeded", "failed", "skipped")


@dataclass(frozen=True, slots=True)
class ListFlags:
    """Which runs to list: those that meet all that is given."""

    workflow: Annotated[
        UUID | None, typer.Option(help="only runs of the workflow with this id", autocompletion=offer_workflows)
    ] = None
    status: Annotated[list[RunStatus] | None, typer.Option(help="any of these, if repeated")] = None
    tag: Annotated[list[str] | None, typer.Option(help="all of these, if repeated")] = None
    since: Annotated[str | None, typer.Option(metavar="TIME", help="created since: an age (7d, 12h) or a date")] = None
    until: Annotated[str | None, typer.Option(metavar="TIME", help="created before")] = None
    min_cost: Annotated[float | None, typer.Option(min=0, help="dollars at least")] = None
    max_cost: Annotated[float | None, typer.Option(min=0, help="dollars at most")] = None
    error: Annotated[str | None, typer.Option(metavar="TEXT", help="text in the errors of what failed")] = None
    limit: Annotated[int, typer.Option(min=1, max=MAX_PAGE, help="how many at most")] = 50
    cursor: Annotated[str | None, typer.Option(help="go on where an earlier list ended")] = None

    def as_query(self) -> dict[str, Any]:
        """Return what was given, as the gateway takes it; raise `invalid_option`."""
        from cli.moments import read_moment  # noqa: PLC0415 -- see the package

        given: dict[str, Any] = {
            "status": self.status,
            "tag": self.tag,
            "since": self.since and read_moment(self.since, "--since").isoformat(),
            "until": self.until and read_moment(self.until, "--until").isoformat(),
            "minCost": self.min_cost,
            "maxCost": self.max_cost,
            "error": self.error,
            "limit": self.limit,
            "cursor": self.cursor,
        }
        return {name: value for name, value in given.items() if value not in (None, [])}


@app.command("list")
@spread
def list_runs(wishes: ListFlags, output: OutputOption = Output.TEXT) -> int:
    """List runs, newest first, a page at a time."""
    from cli.render import write_json, write_line, write_table  # noqa: PLC0415 -- see the package

    query = wishes.as_query()
    page = ask(lambda gateway: gateway.runs(wishes.workflow, query))
    if output is Output.JSON:
        write_json(page)
        return ExitCode.OK
    write_table(_COLUMNS, [_row(run) for run in page.runs])
    if page.next_cursor:
        write_line(f"\nThere are more: the same with --cursor {page.next_cursor}")
    return ExitCode.OK


@app.command("get")
def get_run(
    run_id: RunId,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="follow it to its end, live: see weft runs watch")] = False,
    timeout: TimeoutOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """Show a run: its nodes, pictures, answers and errors."""
    from cli.render import write_json, write_run_in_full  # noqa: PLC0415 -- see the package

    if watch:
        return run_history.watch_run(run_id, timeout=timeout, output=output)
    run = ask(lambda gateway: gateway.run(run_id))
    if output is Output.JSON:
        write_json(run)
    else:
        write_run_in_full(run, Settings.load().assets_url)
    return ExitCode.OK


for _name, _command in {
    "cancel": run_control.cancel_run,
    "resume": run_control.resume_run,
    "replay": run_control.replay_run,
    "why": run_control.explain_run,
    "watch": run_history.watch_run,
    "events": run_history.list_events,
    "timeline": run_history.show_timeline,
    "tail": run_history.tail_runs,
}.items():
    app.command(_name)(_command)


def _row(run: RunView) -> tuple[str, ...]:
    from cli.words import seconds_between  # noqa: PLC0415 -- see the package

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
