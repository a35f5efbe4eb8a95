"""The connections to one model server, in pools that stay small."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from llm_worker.domain.provider import Provider, is_loopback

# A pool looks at all its connections whenever a call begins or ends: one for a thousand calls would do little else.
CALLS_PER_POOL = 50
_CONNECT_TIMEOUT = 10.0  # seconds; a server that is there takes far less


@dataclass(slots=True)
class _Pool:
    openai: AsyncOpenAI
    calls: int = 0


class Connections:
    """Gives each call a client whose pool has room; pools are opened as they are needed, and kept."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._trust_env = not is_loopback(provider.base_url)
        self._ssl = httpx2.create_ssl_context(trust_env=self._trust_env)
        self._pools = [self._new_pool()]

    @contextmanager
    def client(self) -> Generator[AsyncOpenAI]:
        """Yield a client for one call."""
        pool = next((pool for pool in self._pools if pool.calls < CALLS_PER_POOL), None)
        if pool is None:
            pool = self._new_pool()
            self._pools.append(pool)
        pool.calls += 1
        try:
            yield pool.openai
        finally:
            pool.calls -= 1

    async def close(self) -> None:
        """Close the connections that are kept open."""
        for pool in self._pools:
            await pool.openai.close()

    def _new_pool(self) -> _Pool:
        # No limit of connections: calls are limited elsewhere, and here none is to wait with its time running.
        http_client = DefaultAsyncHttpxClient(
            trust_env=self._trust_env,
            verify=self._ssl,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=CALLS_PER_POOL),
        )
        client = AsyncOpenAI(
            base_url=self._provider.base_url,
            api_key=self._provider.api_key.get_secret_value(),
            max_retries=0,
            timeout=httpx2.Timeout(None, connect=_CONNECT_TIMEOUT),
            http_client=http_client,
        )
        return _Pool(client)
