"""The gateway keeps to its OpenAPI document, whatever it is sent: no defect, no answer that is not documented."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("phase", PHASES)
async def test_every_answer_is_documented(client, services, tmp_path, phase):
    # A stream of events ends when its run does: that is what other tests wait for.
    process = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).with_name("st"), "run", str(client.base_url.join("/openapi.json"))),
        *("--url", str(client.base_url), "--header", f"Authorization: {client.headers['Authorization']}"),
        *("--phases", phase, "--checks", ",".join(CHECKS), "--exclude-operation-id", "watch_run"),
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
