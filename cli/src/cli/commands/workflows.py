"""`weft workflows`: look at kept workflows, keep files as such, take them out again."""

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from cli.commands.asking import ask
from cli.commands.options import OutputOption, WorkflowFile, WorkflowId, YesOption, confirm
from cli.errors import ExitCode, tell_problem
from cli.output import Output
from shared.contracts.history import MAX_PAGE

if TYPE_CHECKING:
    from shared.client import AsyncClient, Workflow

app = typer.Typer(no_args_is_help=True, help="Keep workflows at the gateway, and look at them.")

VersionOption = Annotated[int | None, typer.Option("--version", min=1, help="this version, not the latest one")]

_COLUMNS = ("workflow", "version", "name", "saved")


@app.command("list")
def list_workflows(
    limit: Annotated[int, typer.Option(min=1, max=MAX_PAGE, help="how many at most")] = 50,
    cursor: Annotated[str | None, typer.Option(help="where the list before ended, to go on there")] = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """List workflows, newest first."""
    from cli.render import write_json, write_table  # noqa: PLC0415 -- see the package

    page = ask(lambda client: client.list_workflows(limit, cursor))
    if output is Output.JSON:
        write_json(page)
    else:
        write_table(_COLUMNS, [_row(workflow) for workflow in page.workflows])
    return ExitCode.OK


@app.command("get")
def get_workflow(workflow_id: WorkflowId, version: VersionOption = None, output: OutputOption = Output.TEXT) -> int:
    """Show a workflow; with -o json also its graph."""
    workflow = ask(lambda client: client.get_workflow(workflow_id, version))
    _write(workflow, output)
    return ExitCode.OK


@app.command("save")
def save_workflow(
    file: WorkflowFile,
    *,
    workflow_id: Annotated[UUID | None, typer.Option("--id", help="a workflow to keep a new version of")] = None,
    version: Annotated[
        int | None, typer.Option(min=1, help="its latest version, as you know it; another one is told, not replaced")
    ] = None,
    name: Annotated[str | None, typer.Option(help="what people call it")] = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """Keep the workflow of a file, as a new one or as a new version; files of the predecessor are taken as well."""
    from cli.runner import as_json  # noqa: PLC0415 -- see the package
    from cli.workflow_file import read_workflow  # noqa: PLC0415 -- see the package

    graph = as_json(read_workflow(file))

    async def save(client: "AsyncClient") -> "Workflow":
        if workflow_id is None:
            return await client.save_workflow(graph, name=name)
        return await client.update_workflow(workflow_id, graph, name=name, version=version)

    _write(ask(save), output)
    return ExitCode.OK


@app.command("validate")
def validate_workflow(file: WorkflowFile, output: OutputOption = Output.TEXT) -> int:
    """Tell everything that the gateway finds wrong with the workflow of a file. Exit code 2: something is."""
    from cli.render import write_json, write_line  # noqa: PLC0415 -- see the package
    from cli.workflow_file import read_raw_workflow  # noqa: PLC0415 -- see the package

    raw = read_raw_workflow(file)
    result = ask(lambda client: client.validate_workflow(raw))
    if output is Output.JSON:
        write_json(result)
    elif result.valid:
        write_line("nothing is wrong with it")
    for problem in result.problems:
        tell_problem(problem)
    return ExitCode.OK if result.valid else ExitCode.USAGE


@app.command("delete")
def delete_workflow(workflow_id: WorkflowId, *, yes: YesOption = False) -> int:
    """Let a workflow be found no more; its runs stay."""
    from cli.render import write_line  # noqa: PLC0415 -- see the package

    confirm(f"Delete workflow {workflow_id}?", yes=yes)
    ask(lambda client: client.delete_workflow(workflow_id))
    write_line(f"workflow {workflow_id} is deleted; its runs stay")
    return ExitCode.OK


@app.command("export")
def export_workflow(workflow_id: WorkflowId) -> int:
    """Write a workflow to stdout as a file holds it, to be run, saved or imported."""
    from cli.render import write_json  # noqa: PLC0415 -- see the package

    write_json(ask(lambda client: client.export_workflow(workflow_id)))
    return ExitCode.OK


def _write(workflow: "Workflow", output: Output) -> None:
    from cli.render import write_json, write_table  # noqa: PLC0415 -- see the package

    if output is Output.JSON:
        write_json(workflow)
    else:
        write_table(_COLUMNS, [_row(workflow)])


def _row(workflow: "Workflow") -> tuple[str, ...]:
    saved = workflow.created_at.strftime("%Y-%m-%d %H:%M:%S")
    return str(workflow.id), str(workflow.version), workflow.name, saved
