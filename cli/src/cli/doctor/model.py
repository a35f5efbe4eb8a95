"""The model's endpoint: whether it answers and takes the key. Its list of models is asked for, which is free."""

from collections.abc import Sequence
from http import HTTPStatus

import httpx2

from cli.doctor.findings import Finding, Findings
from shared.settings import Settings

PATIENCE_SECONDS = 5.0


async def check_model(settings: Settings) -> Sequence[Finding]:
    """Look at the endpoint of WEFT_LLM_BASE_URL; those of several providers are checked by the llm worker's start."""
    findings = Findings("model")
    if settings.llm_providers or settings.llm_providers_file:
        findings.skip("several providers are configured; the llm worker tells at its start what is wrong with them")
    if settings.llm_base_url is None:
        findings.skip("no model is configured: weft dev uses its offline stand-in", "set WEFT_LLM_BASE_URL for another")
        return findings.made
    try:
        status = await _ask_for_models(settings)
    except httpx2.HTTPError as err:
        message = f"no model answers at {settings.llm_base_url}: {err or type(err).__name__}"
        findings.fail(message, "start it, or correct WEFT_LLM_BASE_URL")
    else:
        _judge(settings, status, findings)
    return findings.made


async def _ask_for_models(settings: Settings) -> int:
    key = settings.llm_api_key.get_secret_value()
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS, headers=headers) as http:
        return (await http.get(f"{(settings.llm_base_url or '').rstrip('/')}/models")).status_code


def _judge(settings: Settings, status: int, findings: Findings) -> None:
    place = settings.llm_base_url
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        findings.fail(f"{place} does not take the key (status {status})", "correct WEFT_LLM_API_KEY")
    elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        findings.warn(f"{place} answers with status {status}", "try again later, or look at its logs")
    else:
        findings.ok(f"{place} answers")
