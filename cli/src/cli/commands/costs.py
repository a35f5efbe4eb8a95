"""`weft costs`: what model calls have cost."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.commands.asking import ask
from cli.commands.options import OutputOption
from cli.errors import ExitCode
from cli.output import Output
from shared.contracts.errors import invalid
from shared.contracts.queries import CostRow, CostsBy

_COLUMNS = ("calls", "failed", "unknown", "input tokens", "cached", "output tokens", "dollars", "unpriced calls")
_NO_WORKFLOW = "(no saved workflow)"


def costs(
    by: Annotated[CostsBy, typer.Option("--by", help="what is summed up; days are those of UTC")] = CostsBy.DAY,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="calls begun since: 2026-11-01, or with a time; UTC if no zone"),
    ] = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """Tell what model calls have cost; calls whose cost nobody knows are counted, and add nothing."""
    from cli.render import write_json, write_table  # noqa: PLC0415 -- see the package

    begun = _read_time(since)
    reply = ask(lambda gateway: gateway.costs(by, begun))
    if output is Output.JSON:
        write_json(reply)
    else:
        write_table((by.value, *_COLUMNS), [*map(_row, reply.rows), _row(reply.total, key="total")])
    return ExitCode.OK


def _read_time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as err:
        raise invalid(
            "invalid_option",
            f"{text!r} is no time",
            where="--since",
            fix="write a day (2026-11-01) or a time (2026-11-01T12:00+01:00)",
        ) from err
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _row(row: CostRow, *, key: str | None = None) -> tuple[str, ...]:
    return (
        key or row.key or _NO_WORKFLOW,
        f"{row.calls:,}",
        f"{row.failed:,}",
        f"{row.unknown:,}",
        f"{row.input_tokens:,}",
        f"{row.cached_tokens:,}",
        f"{row.output_tokens:,}",
        f"{row.cost:.4f}",
        f"{row.unpriced:,}",
    )
