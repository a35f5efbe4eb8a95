"""The gateway: whether it answers, is ready and of this version, and what our key is good for there."""

from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from typing import Any, cast

import httpx2

from cli.commands.options import gateway_url
from cli.doctor.clocks import compare_clocks, read_http_date
from cli.doctor.findings import Finding, Findings
from shared.client import AsyncClient
from shared.client.answers import unreachable
from shared.contracts.errors import UnavailableError, WeftError
from shared.settings import Settings

PATIENCE_SECONDS = 3.0
# What needs each scope, and changes nothing: to look at node types, to check a graph, to list keys.
_PROBES: dict[str, Callable[[AsyncClient], Awaitable[Any]]] = {
    "read": lambda client: client.node_types(),
    "run": lambda client: client.validate_workflow({"nodes": []}),
    "admin": lambda client: client.list_keys(1),
}


async def check_gateway(settings: Settings) -> Sequence[Finding]:
    """Look at the gateway as any client may, and then with our key."""
    findings = Findings("gateway")
    try:
        url = gateway_url(settings)
        await _look_at(url, findings)
        await _try_key(settings, url, findings)
    except WeftError as err:
        findings.fail_with(err.problems)
    return findings.made


async def _look_at(url: str, findings: Findings) -> None:
    try:
        async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS) as http:
            ready, document = await http.get("/ready"), await http.get("/openapi.json")
    except httpx2.TransportError as err:
        raise unreachable(url, err) from err
    state = _object(ready)
    if state.get("ready"):
        findings.ok(f"the gateway at {url} is ready")
    else:
        failing = ", ".join(map(str, state.get("failing", ()))) or f"it answers with status {ready.status_code}"
        findings.fail(f"the gateway at {url} is not ready: {failing}", "mend what it names; see the findings below")
    theirs, ours = _object(document).get("info", {}).get("version"), version("weft-cli")
    if theirs not in (None, ours):
        findings.warn(f"the gateway has version {theirs}, this command {ours}", "use the same version of both")
    if moment := read_http_date(ready.headers.get("date")):
        compare_clocks("the gateway", moment, findings, coarse=True)


async def _try_key(settings: Settings, url: str, findings: Findings) -> None:
    if settings.api_key is None:
        findings.fail("no API key is known here", "set WEFT_API_KEY; an administrator makes one with: weft keys create")
        return
    scopes: list[str] = []
    async with AsyncClient(url, api_key=settings.api_key.get_secret_value()) as client:
        for scope, probe in _PROBES.items():
            try:
                await probe(client)
            except UnavailableError:
                raise
            except WeftError as err:
                if err.code != "scope_missing":
                    raise
            else:
                scopes.append(scope)
    findings.ok(f"the API key is valid, with the scopes: {', '.join(scopes)}")


def _object(response: httpx2.Response) -> dict[str, Any]:
    try:
        content: Any = response.json()
    except ValueError:
        return {}
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {}
