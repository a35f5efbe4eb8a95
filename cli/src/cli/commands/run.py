"""`weft run`: start a run, or execute it to its end."""

import asyncio
from typing import Annotated

import typer

from cli.commands.options import ImageOption, OutputOption, SetOption, WorkflowFile, gateway_url
from cli.errors import ExitCode
from cli.output import Output
from shared.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Start runs of a workflow file.")

TimeoutOption = Annotated[
    float | None, typer.Option("--timeout", min=0, help="seconds to wait; the run itself goes on after them")
]


@app.command()
def execute(
    file: WorkflowFile,
    image: ImageOption = None,
    set_: SetOption = None,
    timeout: TimeoutOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """Run a workflow, follow it live, print its results. Exit code 1: it failed, at least in part; 124: timed out."""
    from cli.display import show_progress  # noqa: PLC0415 -- see the package
    from cli.render import write_result  # noqa: PLC0415 -- see the package
    from cli.runner import RunRequest, execute  # noqa: PLC0415 -- see the package

    settings = Settings.load()
    request = RunRequest.read(file, image or [], set_ or [])
    with show_progress() as on_change:
        run = asyncio.run(execute(gateway_url(settings), request, on_change, patience=timeout))
    write_result(run, settings.assets_url, output)
    return ExitCode.OK if run.status == "completed" else ExitCode.RUN_FAILED


@app.command()
def start(
    file: WorkflowFile, image: ImageOption = None, set_: SetOption = None, output: OutputOption = Output.TEXT
) -> int:
    """Start a run of a workflow and print its id at once."""
    from cli.render import write_json, write_line  # noqa: PLC0415 -- see the package
    from cli.runner import RunRequest, start_only  # noqa: PLC0415 -- see the package

    settings = Settings.load()
    request = RunRequest.read(file, image or [], set_ or [])
    run_id = str(asyncio.run(start_only(gateway_url(settings), request)))
    if output is Output.JSON:
        write_json({"runId": run_id})
    else:
        write_line(run_id)
    return ExitCode.OK
