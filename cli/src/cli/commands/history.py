"""`weft history`: what is kept of old runs."""

import asyncio
from datetime import timedelta
from typing import Annotated

import typer

from cli.commands.options import OutputOption, YesOption, amqp_url, confirm
from cli.errors import ExitCode
from cli.output import Output
from shared.contracts.errors import invalid
from shared.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Keep the history of runs within bounds.")


@app.callback()
def history() -> None:
    """Keep the history of runs within bounds."""


@app.command("prune")
def prune(
    older_than: Annotated[str, typer.Option(metavar="AGE", help="days or weeks: 90d, 12w")],
    *,
    yes: YesOption = False,
    output: OutputOption = Output.TEXT,
) -> int:
    """Drop the weeks of history that ended at least so long ago; a week is kept while one of its runs goes on."""
    from cli.history import prune_history  # noqa: PLC0415 -- see the package
    from cli.render import write_json, write_line  # noqa: PLC0415 -- see the package

    days, url = _days(older_than), amqp_url(Settings.load())
    confirm(f"Drop the history of all weeks that ended {days} days ago or earlier?", yes=yes)
    reply = asyncio.run(prune_history(url, days))
    if output is Output.JSON:
        write_json(reply)
        return ExitCode.OK
    for week in reply.dropped:
        write_line(f"dropped the week of {week.week} ({week.runs} runs)")
    for week in reply.kept:
        write_line(f"kept the week of {week.week}: {week.open_runs} of its {week.runs} runs have not ended")
    if not reply.dropped and not reply.kept:
        write_line("there is nothing so old")
    return ExitCode.OK


def _days(text: str) -> int:
    from cli.moments import read_age  # noqa: PLC0415 -- see the package

    days = read_age(text, "--older-than") // timedelta(days=1)
    if days < 1:
        raise invalid("invalid_option", f"{text!r} is less than a day", where="--older-than", fix="write 90d or 12w")
    return days
