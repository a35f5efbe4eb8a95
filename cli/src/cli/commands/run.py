"""`weft run`: start a run, or execute it to its end."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.options import CarryOutFlags, InputFlags, OutputOption, TimeoutOption, TriggerOption, WorkflowFile
from cli.commands.outcome import follow_to_end, tell_id
from cli.commands.spread import spread
from cli.output import Output
from shared.settings import Settings

if TYPE_CHECKING:
    from cli.runner import RunRequest

app = typer.Typer(no_args_is_help=True, help="Start runs of a workflow file.")


@dataclass(frozen=True, slots=True)
class PartFlags:
    """Which part of a workflow is executed."""

    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="NODE", help="execute this node only, or these; others give their newest output"
        ),
    ] = None
    pin: Annotated[
        list[str] | None,
        typer.Option(
            "--pin",
            metavar="NODE=OUTPUT",
            help="a node's output (FILE.json, a text, a picture) instead of its execution",
        ),
    ] = None


@app.command()
@spread
def execute(
    file: WorkflowFile,
    *,
    inputs: InputFlags,
    part: PartFlags,
    how: CarryOutFlags,
    trigger_id: TriggerOption = None,
    timeout: TimeoutOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """Run a workflow, follow it live, print its results. Exit code 1: it failed, at least in part; 124: timed out."""
    settings = Settings.load()
    request = _read(file, inputs, part, how, trigger_id)
    return follow_to_end(request.begin, settings, timeout=timeout, output=output)


@app.command()
@spread
def start(
    file: WorkflowFile,
    *,
    inputs: InputFlags,
    part: PartFlags,
    how: CarryOutFlags,
    trigger_id: TriggerOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """Start a run of a workflow and print its id at once."""
    settings = Settings.load()
    return tell_id(_read(file, inputs, part, how, trigger_id).begin, settings, output=output)


def _read(file: Path, inputs: InputFlags, part: PartFlags, how: CarryOutFlags, trigger_id: str | None) -> "RunRequest":
    from cli.runner import RunRequest  # noqa: PLC0415 -- see the package

    return RunRequest.read(
        file,
        images=inputs.image or (),
        texts=inputs.set_ or (),
        nodes=part.only or (),
        pins=part.pin or (),
        options=how.as_options(),
        trigger_id=trigger_id,
    )
