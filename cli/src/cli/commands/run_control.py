"""`weft runs cancel | resume | replay | why`: act on runs, and ask what they wait for."""

from typing import Annotated

import typer

from cli.commands.asking import ask
from cli.commands.options import (
    CarryOutFlags,
    InputFlags,
    OutcomeFlags,
    OutputOption,
    RunId,
    TimeoutOption,
    TriggerOption,
    YesOption,
    confirm,
)
from cli.commands.outcome import conclude
from cli.commands.run_history import watch_reasons
from cli.commands.spread import spread
from cli.errors import ExitCode
from cli.output import Output
from shared.contracts.errors import invalid
from shared.settings import Settings


def cancel_run(
    run_id: RunId,
    *,
    reason: Annotated[str | None, typer.Option(help="why, for the record")] = None,
    yes: YesOption = False,
    output: OutputOption = Output.TEXT,
) -> int:
    """End a run: what has succeeded is kept, what is under way is told to stop."""
    from cli.render import write_json, write_line  # noqa: PLC0415 -- see the package

    confirm(f"Cancel run {run_id}?", yes=yes)
    run = ask(lambda gateway: gateway.cancel(run_id, reason))
    if output is Output.JSON:
        write_json(run)
    else:
        write_line(f"run {run_id} was {run.status}, and is being cancelled")
    return ExitCode.OK


@spread
def resume_run(
    run_id: RunId,
    *,
    from_node: Annotated[
        str | None, typer.Option("--from-node", metavar="NODE", help="execute this node again, too, and what follows")
    ] = None,
    from_start: Annotated[bool, typer.Option("--from-start", help="execute everything again")] = False,
    param: Annotated[
        list[str] | None, typer.Option("--param", metavar="NODE.PARAM=VALUE", help="another value of a node's param")
    ] = None,
    inputs: InputFlags,
    how: CarryOutFlags,
    trigger_id: TriggerOption = None,
    outcome: OutcomeFlags,
) -> int:
    """Take up a run that has ended, in a new one: what succeeded is reused, unless it depends on what changes."""
    from cli.edits import read_edits  # noqa: PLC0415 -- see the package
    from cli.inputs import read_inputs  # noqa: PLC0415 -- see the package
    from cli.runner import ResumeRequest  # noqa: PLC0415 -- see the package

    if from_start and from_node is not None:
        raise invalid("invalid_option", "--from-start executes every node", where="--from-node", fix="leave one out")
    request = ResumeRequest(
        run_id,
        from_start=from_start,
        from_node=from_node,
        edits=read_edits(param or ()),
        inputs=read_inputs(inputs.image or (), inputs.set_ or ()),
        options=how.as_options(),
        trigger_id=trigger_id,
    )
    return conclude(request.begin, Settings.load(), outcome)


@spread
def replay_run(
    run_id: RunId,
    *,
    trigger_id: TriggerOption = None,
    outcome: OutcomeFlags,
) -> int:
    """Do the same again in a new run: same workflow, inputs and options, from the start."""
    from cli.runner import ReplayRequest  # noqa: PLC0415 -- see the package

    return conclude(ReplayRequest(run_id, trigger_id).begin, Settings.load(), outcome)


def explain_run(
    run_id: RunId,
    node: Annotated[str | None, typer.Argument(help="id of the node; else all that have not ended")] = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="tell each change, until the run ends")] = False,
    timeout: TimeoutOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """Tell what a run, or one node of it, is waiting for. With --watch, json comes in lines."""
    from cli.render import write_explanation, write_json  # noqa: PLC0415 -- see the package

    if watch:
        return watch_reasons(run_id, node, timeout=timeout, output=output)
    reply = ask(lambda gateway: gateway.why(run_id, node))
    if output is Output.JSON:
        write_json(reply)
    else:
        write_explanation(run_id, reply)
    return ExitCode.OK
