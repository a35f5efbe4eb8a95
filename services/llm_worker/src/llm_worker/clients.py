"""The clients of all providers that are configured."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from llm_worker.client import ModelClient, Tell
from llm_worker.domain.directory import Directory
from llm_worker.domain.model import ModelReply, ModelRequest
from llm_worker.domain.provider import Provider


class ModelClients:
    """Asks each provider through connections of its own."""

    def __init__(self, directory: Directory) -> None:
        self._clients = {name: ModelClient(provider) for name, provider in directory.providers.items()}

    async def complete(self, provider: Provider, request: ModelRequest, tell: Tell) -> ModelReply:
        """Return the provider's reply to a request; raise ModelError."""
        return await self._clients[provider.name].complete(request, tell)

    async def close(self) -> None:
        """Close all connections that are kept open."""
        await asyncio.gather(*(client.close() for client in self._clients.values()))


@asynccontextmanager
async def open_clients(directory: Directory) -> AsyncGenerator[ModelClients]:
    """Yield the clients of these providers."""
    clients = ModelClients(directory)
    try:
        yield clients
    finally:
        await clients.close()
