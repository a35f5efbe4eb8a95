"""The gateway as a process of its own, also behind a line that can be cut."""

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx2
from tests.integration.line import line_to


@dataclass
class GatewayProcess:
    process: asyncio.subprocess.Process
    client: httpx2.AsyncClient

    async def stop(self):
        """Ask it to stop, and return its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            return await self.process.wait()


@asynccontextmanager
async def gateway_process(settings):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway"),
        env={**os.environ, **environment(settings)},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr
    async with asyncio.timeout(30):
        address = await ready_address(process.stderr)
    draining = asyncio.create_task(process.stderr.read())
    key = {"Authorization": f"Bearer {settings.api_key.get_secret_value()}"}
    async with httpx2.AsyncClient(base_url=address, timeout=20, trust_env=False, headers=key) as client:
        gateway = GatewayProcess(process, client)
        try:
            yield gateway
        finally:
            await gateway.stop()
            sys.stderr.write((await draining).decode())  # shown with a test that failed


def environment(settings):
    names = ("home", "amqp_url", "management_url", "database_url", "assets_url", "http_port")
    secrets = {name: getattr(settings, name).get_secret_value() for name in ("api_key", "url_secrets")}
    values = {**{name: getattr(settings, name) for name in names}, **secrets}
    return {f"WEFT_{name.upper()}": str(value) for name, value in values.items() if value is not None}


async def ready_address(logs):
    async for line in logs:
        entry = json.loads(line)
        if entry["event"] == "ready":
            return entry["address"]
    raise AssertionError("the gateway ended before it was ready")


@asynccontextmanager
async def gateway_on_line(settings, address):
    """Yield a line to the server at `address`, and a gateway that knows the server by that line only."""
    async with (
        line_to(getattr(settings, address)) as line,
        gateway_process(settings.model_copy(update={address: line.url})) as gateway,
    ):
        yield line, gateway


async def events_of(answer):
    """Yield what an event stream tells: kind and data."""
    kind = None
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, json.loads(value)
