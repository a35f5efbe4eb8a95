"""The gateway keeps to its OpenAPI document, whatever it is sent: no defect, no answer that is not documented."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

from llm_worker.main import create_service as llm_worker

PHASES = ("examples", "coverage", "fuzzing", "stateful")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
EXAMPLES = 6  # per operation and phase; `make chaos` is for more
SECONDS = 600


@pytest.fixture
async def costs(stack):
    """An llm worker, which is asked about costs; no model answers it."""
    async with llm_worker(stack.model_copy(update={"llm_base_url": "http://127.0.0.1:1/v1"})):
        yield


@pytest.mark.parametrize("phase", PHASES)
async def test_every_answer_is_documented(client, services, costs, tmp_path, phase):
    # Streams of events end when their run does, or never: that is what other tests wait for.
    streams = [word for name in ("watch_run", "watch_workflow") for word in ("--exclude-operation-id", name)]
    process = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).with_name("st"), "run", str(client.base_url.join("/openapi.json"))),
        *("--url", str(client.base_url), "--header", f"Authorization: {client.headers['Authorization']}"),
        *("--phases", phase, "--checks", ",".join(CHECKS), *streams),
        *("--max-examples", str(EXAMPLES), "--seed", "1", "--request-timeout", "30", "--warnings", "off"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(SECONDS):
        told, _ = await process.communicate()
    assert process.returncode == 0, told.decode()
    assert re.search(rb"Tested: [1-9]", told), "nothing was tested"
    assert (await client.get("/ready")).status_code == 200
