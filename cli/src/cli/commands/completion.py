"""What the shell offers for ids: those of the newest runs and workflows, if the gateway tells them at once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from shared.settings import Settings

if TYPE_CHECKING:
    from shared.client import AsyncClient

Offers = list[tuple[str, str]]  # what is offered, and what it is

PATIENCE_SECONDS = 1.0  # a person has pressed a key
_MOST = 50


def offer_runs(incomplete: str) -> Offers:
    """Return the ids of runs that begin so, newest first; none, where they cannot be had."""

    async def find(client: "AsyncClient") -> Offers:
        page = await client.runs(None, {"limit": _MOST})
        return [(str(run.run_id), f"{run.status} {run.workflow_name or ''}".strip()) for run in page.runs]

    return _beginning(incomplete, find)


def offer_workflows(incomplete: str) -> Offers:
    """Return the ids of workflows that begin so, newest first; none, where they cannot be had."""

    async def find(client: "AsyncClient") -> Offers:
        page = await client.list_workflows(_MOST)
        return [(str(workflow.id), workflow.name) for workflow in page.workflows]

    return _beginning(incomplete, find)


def _beginning(incomplete: str, find: "Callable[[AsyncClient], Awaitable[Offers]]") -> Offers:
    try:
        offers = asyncio.run(_found(find))
    except Exception:  # noqa: BLE001 -- whatever goes wrong, a shell that waits for offers must not be written into
        return []
    return [offer for offer in offers if offer[0].startswith(incomplete)]


async def _found(find: "Callable[[AsyncClient], Awaitable[Offers]]") -> Offers:
    from cli.client import connect  # noqa: PLC0415 -- see the package

    url = Settings.load().gateway_url
    if url is None:
        return []
    async with asyncio.timeout(PATIENCE_SECONDS), connect(url) as client:
        return await find(client)
