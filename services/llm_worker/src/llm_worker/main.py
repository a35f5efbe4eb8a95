"""The llm worker's process."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from llm_worker.client import ModelClient
from llm_worker.handlers import LlmHandler
from shared.contracts.node_types import REGISTRY
from shared.service import Service, run
from shared.settings import Settings
from shared.worker import worker_service

NAME = "llm_worker"


@asynccontextmanager
async def create_service(settings: Settings) -> AsyncGenerator[Service]:
    """Yield the running worker; on leaving, the jobs in hand are finished."""
    client = ModelClient(
        base_url=settings.require("llm_base_url"),
        api_key=settings.llm_api_key.get_secret_value(),
        timeout=settings.llm_timeout,
    )
    try:
        execute = LlmHandler(client, default_model=settings.llm_model).execute
        async with worker_service(settings, REGISTRY["llm"], execute, settings.llm_concurrency) as service:
            yield service
    finally:
        await client.close()


def main() -> None:
    """Run the llm worker."""
    run(NAME, create_service)
