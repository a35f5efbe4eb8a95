"""`weft dead`: look at what was given up, and treat it. It needs a key with the scope `admin`."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import typer

from cli.commands.asking import ask
from cli.commands.options import OutputOption, StreamOutputOption, YesOption, confirm, gateway_url
from cli.commands.spread import spread
from cli.errors import ExitCode
from cli.output import Output, StreamOutput
from shared.contracts.dead_letters import MAX_LETTERS, LetterOutcome, LettersReply
from shared.contracts.errors import invalid
from shared.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Look at dead letters, replay or drop them.")

LetterIds = Annotated[list[str] | None, typer.Argument(help="ids of dead letters", show_default=False)]


@dataclass(frozen=True, slots=True)
class FilterFlags:
    """Which dead letters: those that meet all that is given."""

    queue: Annotated[str | None, typer.Option(help="only in this dead-letter queue")] = None
    node_type: Annotated[str | None, typer.Option(help="only jobs of this type")] = None
    run: Annotated[UUID | None, typer.Option(help="only of the run with this id")] = None
    code: Annotated[str | None, typer.Option(help="only with this code")] = None
    error: Annotated[str | None, typer.Option(metavar="TEXT", help="text in their errors")] = None
    since: Annotated[str | None, typer.Option(metavar="TIME", help="died since: an age (7d, 12h) or a date")] = None

    def as_query(self) -> dict[str, Any]:
        """Return what was given, as the gateway takes it; raise `invalid_option`."""
        from cli.moments import read_moment  # noqa: PLC0415 -- see the package

        given = {
            "queue": self.queue,
            "nodeType": self.node_type,
            "runId": self.run and str(self.run),
            "code": self.code,
            "error": self.error,
            "since": self.since and read_moment(self.since, "--since").isoformat(),
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class TreatmentFlags:
    """How many of the letters, how fast, and what is told of each."""

    every: Annotated[bool, typer.Option("--all", help="all that there are")] = False
    rate: Annotated[str | None, typer.Option(metavar="N/s", help="letters per second at most")] = None
    limit: Annotated[int | None, typer.Option(min=1, help="how many letters at most; else all")] = None
    yes: YesOption = False
    output: StreamOutputOption = StreamOutput.TEXT


@app.command("list")
@spread
def list_letters(
    which: FilterFlags,
    limit: Annotated[int, typer.Option(min=1, max=MAX_LETTERS, help="how many at most")] = 50,
    cursor: Annotated[str | None, typer.Option(help="go on where an earlier list ended")] = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """List dead letters, the longest dead of each queue first, and why they died."""
    from cli.letter_tables import LettersTable  # noqa: PLC0415 -- see the package
    from cli.render import write_json, write_renderable  # noqa: PLC0415 -- see the package

    query = {**which.as_query(), "limit": limit, **({"cursor": cursor} if cursor else {})}
    page = ask(lambda gateway: gateway.dead_letters(query))
    if output is Output.JSON:
        write_json(page)
    else:
        write_renderable(LettersTable(page))
    return ExitCode.OK


@app.command("show")
def show_letter(
    letter_id: Annotated[str, typer.Argument(help="id of the dead letter", show_default=False)],
    output: OutputOption = Output.TEXT,
) -> int:
    """Show a dead letter: why it died, its run and node, its body."""
    from cli.letter_tables import letter_details  # noqa: PLC0415 -- see the package
    from cli.render import write_json, write_renderable  # noqa: PLC0415 -- see the package

    letter = ask(lambda gateway: gateway.dead_letter(letter_id))
    if output is Output.JSON:
        write_json(letter)
    else:
        write_renderable(letter_details(letter))
    return ExitCode.OK


@app.command("export")
@spread
def export_letters(which: FilterFlags) -> int:
    """Write dead letters with their bodies to stdout, as JSON, a line each; they stay where they are."""
    asyncio.run(_export({**which.as_query(), "limit": MAX_LETTERS, "bodies": True}))
    return ExitCode.OK


@app.command("replay")
@spread
def replay_letters(
    ids: LetterIds = None,
    *,
    which: FilterFlags,
    param: Annotated[
        list[str] | None, typer.Option("--param", metavar="PARAM=VALUE", help="another value of the nodes' param")
    ] = None,
    how: TreatmentFlags,
) -> int:
    """Do again what died. A job joins its run; where that has ended, a new run takes it up. Exits 1 if one failed."""
    from cli.edits import read_params  # noqa: PLC0415 -- see the package

    selection = _selection(ids, which.as_query(), every=how.every)
    params = read_params(param or (), which.node_type)
    body = {**selection, **({"params": params} if params else {})}
    confirm(f"Replay {_what(selection)}?", yes=how.yes)
    return asyncio.run(_treat("replay", body, how))


@app.command("drop")
@spread
def drop_letters(
    ids: LetterIds = None,
    *,
    which: FilterFlags,
    how: TreatmentFlags,
) -> int:
    """Throw dead letters away for good; `weft dead export` keeps a copy."""
    selection = _selection(ids, which.as_query(), every=how.every)
    confirm(f"Drop {_what(selection)} for good?", yes=how.yes)
    return asyncio.run(_treat("drop", selection, how))


def _selection(ids: list[str] | None, criteria: Mapping[str, Any], *, every: bool) -> dict[str, Any]:
    """Return which letters are meant, as the gateway takes it; raise `invalid_option` unless it is said in one way."""
    given = [bool(ids), bool(criteria), every].count(True)
    if given != 1:
        raise invalid(
            "invalid_option",
            "it is not clear which dead letters are meant" if given else "it is not said which dead letters are meant",
            where="weft dead",
            fix="name ids, or filters (--queue, --code ...), or say --all",
        )
    if ids:
        return {"ids": ids}
    return {"all": True} if every else {"filter": dict(criteria)}


def _what(selection: Mapping[str, Any]) -> str:
    match selection:
        case {"ids": ids}:
            return f"{len(ids)} dead letters"
        case {"filter": criteria}:
            return "all dead letters with " + ", ".join(f"{name} {value}" for name, value in criteria.items())
        case _:
            return "all dead letters"


async def _treat(verb: str, body: Mapping[str, Any], how: TreatmentFlags) -> int:
    from cli.client import connect  # noqa: PLC0415 -- see the package
    from cli.letter_tables import summary  # noqa: PLC0415 -- see the package
    from cli.letters import read_rate, treat_all  # noqa: PLC0415 -- see the package
    from cli.render import write_line  # noqa: PLC0415 -- see the package

    rate, counts = read_rate(how.rate) if how.rate else None, Counter[LetterOutcome]()
    async with connect(gateway_url(Settings.load())) as gateway:
        send = gateway.replay_dead_letters if verb == "replay" else gateway.drop_dead_letters
        async for reply in treat_all(send, body, rate=rate, most=how.limit):
            counts.update(result.outcome for result in reply.results)
            _tell(reply, how.output)
    if how.output is StreamOutput.TEXT:
        write_line(summary(counts))
    return ExitCode.RUN_FAILED if counts[LetterOutcome.FAILED] else ExitCode.OK


def _tell(reply: LettersReply, output: StreamOutput) -> None:
    from cli.letter_tables import result_line  # noqa: PLC0415 -- see the package
    from cli.render import write_json, write_note  # noqa: PLC0415 -- see the package

    for result in reply.results:
        if output is StreamOutput.JSONL:
            write_json(result)
        elif result.problem:
            write_note(result_line(result))
    write_note(f"{len(reply.results):,} treated, {reply.left:,} left")


async def _export(query: Mapping[str, Any]) -> None:
    from cli.client import connect  # noqa: PLC0415 -- see the package
    from cli.render import write_json  # noqa: PLC0415 -- see the package

    async with connect(gateway_url(Settings.load())) as gateway:
        cursor: str | None = None
        while True:
            page = await gateway.dead_letters({**query, **({"cursor": cursor} if cursor else {})})
            for letter in page.letters:
                write_json(letter)
            if (cursor := page.next_cursor) is None:
                return
