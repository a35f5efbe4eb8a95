"""`weft queues`: how full the broker's queues are, and what is wrong. It needs a key with the scope `admin`."""

import asyncio
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.asking import ask
from cli.commands.options import OutputOption, StreamOutputOption, gateway_url
from cli.errors import ExitCode
from cli.output import Output, StreamOutput
from shared.contracts.queues import QueuesView
from shared.settings import Settings

if TYPE_CHECKING:
    from rich.live import Live

app = typer.Typer(no_args_is_help=True, help="Look at the broker's queues.")


@app.command("list")
def list_queues(output: OutputOption = Output.TEXT) -> int:
    """List what waits, by node type and by queue, how long it will take, and what is wrong."""
    from cli.queue_tables import queues_table  # noqa: PLC0415 -- see the package
    from cli.render import write_json, write_renderable  # noqa: PLC0415 -- see the package

    view = ask(lambda gateway: gateway.queues())
    if output is Output.JSON:
        write_json(view)
    else:
        write_renderable(queues_table(view))
    return ExitCode.OK


@app.command("show")
def show_queue(
    name: Annotated[str, typer.Argument(help="name of the queue", show_default=False)],
    output: OutputOption = Output.TEXT,
) -> int:
    """Show one queue, and the node type whose jobs, or dead letters, it holds."""
    from cli.queue_tables import queue_table  # noqa: PLC0415 -- see the package
    from cli.render import write_json, write_renderable  # noqa: PLC0415 -- see the package

    details = ask(lambda gateway: gateway.queue(name))
    if output is Output.JSON:
        write_json(details)
    else:
        write_renderable(queue_table(details))
    return ExitCode.OK


@app.command("watch")
def watch_queues(
    every: Annotated[float, typer.Option("--every", min=0.2, help="seconds between two looks")] = 2.0,
    times: Annotated[int | None, typer.Option("--times", min=1, help="how many looks; else until Ctrl-C")] = None,
    output: StreamOutputOption = StreamOutput.TEXT,
) -> int:
    """Look at the queues again and again; with jsonl, each look is a line."""
    asyncio.run(_watch(every, times, output))
    return ExitCode.OK


async def _watch(every: float, times: int | None, output: StreamOutput) -> None:
    from rich.live import Live  # noqa: PLC0415 -- see the package

    from cli.client import connect  # noqa: PLC0415 -- see the package

    is_live = output is StreamOutput.TEXT and sys.stdout.isatty()
    looks = 0
    async with connect(gateway_url(Settings.load())) as gateway:
        with Live(auto_refresh=False) if is_live else nullcontext() as live:
            while times is None or looks < times:
                if looks:
                    await asyncio.sleep(every)
                _show(await gateway.queues(), output, live)
                looks += 1


def _show(view: QueuesView, output: StreamOutput, live: "Live | None") -> None:
    from cli.queue_tables import queues_table  # noqa: PLC0415 -- see the package
    from cli.render import write_json, write_renderable  # noqa: PLC0415 -- see the package

    if output is StreamOutput.JSONL:
        write_json(view)
    elif live:
        live.update(queues_table(view), refresh=True)
    else:
        write_renderable(queues_table(view))
