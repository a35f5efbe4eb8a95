"""`weft queues`: look at the broker's queues."""

import asyncio

import typer

from cli.commands.options import OutputOption, amqp_url
from cli.errors import ExitCode
from cli.output import Output
from shared.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Look at the broker's queues.")


@app.callback()
def queues() -> None:
    """Look at the broker's queues."""


@app.command("list")
def list_queues(output: OutputOption = Output.TEXT) -> int:
    """List every queue that Weft uses: messages that wait, consumers, whether it is there."""
    from cli.queues import QueueList, look_at_queues  # noqa: PLC0415 -- see the package
    from cli.render import write_json, write_table  # noqa: PLC0415 -- see the package

    views = asyncio.run(look_at_queues(amqp_url(Settings.load())))
    if output is Output.JSON:
        write_json(QueueList(queues=views))
    else:
        write_table(("queue", "messages", "consumers", ""), [view.as_row() for view in views])
    return ExitCode.OK
