"""The models' endpoints: whether they answer and take the key. Their lists of models are asked for, which is free."""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus

import httpx2

from cli.doctor.endpoints import Endpoint, endpoints_of
from cli.doctor.findings import Finding, Findings
from shared.contracts.errors import InvalidInputError
from shared.settings import Settings

PATIENCE_SECONDS = 5.0


async def check_model(settings: Settings) -> Sequence[Finding]:
    """Look at the endpoints of all providers, side by side."""
    findings = Findings("model")
    try:
        endpoints = list(endpoints_of(settings))
    except InvalidInputError as err:
        findings.fail_with(err.problems)
        return findings.made
    if not endpoints:
        findings.skip("no model is configured: weft dev uses its offline stand-in", "set WEFT_LLM_BASE_URL for another")
    async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as http:
        answers = await asyncio.gather(*(_ask_for_models(http, endpoint) for endpoint in endpoints))
    for endpoint, answer in zip(endpoints, answers, strict=True):
        _judge(endpoint, answer, findings)
    return findings.made


async def _ask_for_models(http: httpx2.AsyncClient, endpoint: Endpoint) -> int | str:
    """Return the status of the answer, or why there is none."""
    headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
    try:
        return (await http.get(f"{endpoint.base_url.rstrip('/')}/models", headers=headers)).status_code
    except (httpx2.HTTPError, httpx2.InvalidURL) as err:
        return str(err) or type(err).__name__


def _judge(endpoint: Endpoint, answer: int | str, findings: Findings) -> None:
    place = f"{endpoint.name} at {endpoint.base_url}"
    match answer:
        case str():
            findings.fail(f"no model answers for {place}: {answer}", "start it, or correct its address")
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            findings.fail(f"{place} does not take the key (status {answer})", f"correct {endpoint.key_place}")
        case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            findings.warn(f"{place} answers with status {status}", "try again later, or look at its logs")
        case _:
            findings.ok(f"{place} answers")
