"""`weft keys`: make, list and revoke API keys. It needs a key with the scope `admin`; the local stack has one."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import typer

from cli.commands.asking import ask
from cli.commands.options import OutputOption, YesOption, confirm
from cli.errors import ExitCode
from cli.output import Output
from shared.contracts.history import MAX_PAGE
from shared.contracts.run_options import MAX_CONCURRENT_RUNS, MAX_COST

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")

_COLUMNS = ("key", "name", "owner", "scopes", "created", "expires", "revoked", "limits")
_LIMITS = {"requestsPerMinute": "requests/min", "concurrentRuns": "runs", "dailyBudget": "$/day"}


class Scope(StrEnum):
    """What a key is good for."""

    READ = "read"
    RUN = "run"
    ADMIN = "admin"


@app.command("create")
def create_key(
    *,
    owner: Annotated[str, typer.Option(help="whose workflows and runs the key is for")],
    name: Annotated[str, typer.Option(help="what people call the key")] = "key",
    scope: Annotated[Scope, typer.Option(help="each includes those before it")] = Scope.RUN,
    requests_per_minute: Annotated[int | None, typer.Option(min=1)] = None,
    concurrent_runs: Annotated[int | None, typer.Option(min=1, max=MAX_CONCURRENT_RUNS)] = None,
    daily_budget: Annotated[float | None, typer.Option(min=0, max=MAX_COST, help="US dollars")] = None,
    expires: Annotated[datetime | None, typer.Option(help="UTC")] = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """Make a key. It is shown this once: only a hash of it is kept."""
    from cli.render import write_json, write_line  # noqa: PLC0415 -- see the package

    wishes = {
        "owner": owner,
        "name": name,
        "scopes": [scope],
        "requestsPerMinute": requests_per_minute,
        "concurrentRuns": concurrent_runs,
        "dailyBudget": daily_budget,
        "expiresAt": f"{expires.isoformat()}Z" if expires else None,
    }
    made = ask(lambda gateway: gateway.create_key(wishes))
    if output is Output.JSON:
        write_json(made)
    else:
        write_line(made["key"])
    return ExitCode.OK


@app.command("list")
def list_keys(
    limit: Annotated[int, typer.Option(min=1, max=MAX_PAGE, help="how many at most")] = 50,
    output: OutputOption = Output.TEXT,
) -> int:
    """List the keys of all owners, newest first."""
    from cli.render import write_json, write_table  # noqa: PLC0415 -- see the package

    listed = ask(lambda gateway: gateway.list_keys(limit))
    if output is Output.JSON:
        write_json(listed)
    else:
        write_table(_COLUMNS, [_row(key) for key in listed["keys"]])
    return ExitCode.OK


@app.command("revoke")
def revoke_key(
    key_id: Annotated[UUID, typer.Argument(help="id of the key", show_default=False)],
    *,
    yes: YesOption = False,
) -> int:
    """End a key for good."""
    from cli.render import write_line  # noqa: PLC0415 -- see the package

    confirm(f"Revoke the key {key_id}?", yes=yes)
    revoked = ask(lambda gateway: gateway.revoke_key(key_id))
    write_line(f"the key {revoked['keyId']} ({revoked['name']}) is revoked")
    return ExitCode.OK


def _row(key: dict[str, Any]) -> tuple[str, ...]:
    times = (str(key.get(name, ""))[:19].replace("T", " ") for name in ("createdAt", "expiresAt", "revokedAt"))
    limits = (f"{key[name]} {unit}" for name, unit in _LIMITS.items() if name in key)
    return (key["keyId"], key["name"], key["owner"], ", ".join(key["scopes"]), *times, ", ".join(limits))
