"""The clients of all providers that are configured."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from llm_worker.client import ModelClient, Tell
from llm_worker.domain.directory import Directory
from llm_worker.domain.model import ModelReply, ModelRequest
from llm_worker.domain.provider import Provider
from llm_worker.telemetry import ModelTelemetry


class ModelClients:
    """Asks each provider through connections of its own."""

    def __init__(self, directory: Directory, telemetry: ModelTelemetry) -> None:
        self._telemetry = telemetry
        self._clients = {name: ModelClient(provider) for name, provider in directory.providers.items()}

    async def complete(self, provider: Provider, request: ModelRequest, tell: Tell) -> ModelReply:
        """Return the provider's reply to a request; raise ModelError."""
        client = self._clients[provider.name]
        return await self._telemetry.observe(provider, request, lambda: client.complete(request, tell))

    async def close(self) -> None:
        """Close all connections that are kept open."""
        await asyncio.gather(*(client.close() for client in self._clients.values()))


@asynccontextmanager
async def open_clients(directory: Directory, telemetry: ModelTelemetry | None = None) -> AsyncGenerator[ModelClients]:
    """Yield the clients of these providers; what they do is measured by `telemetry`."""
    clients = ModelClients(directory, telemetry or ModelTelemetry(None, (), default_model=""))
    try:
        yield clients
    finally:
        await clients.close()
