"""The llm worker's process."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from llm_worker.client import ModelClient
from llm_worker.handlers import LlmHandler
from shared.assets import AssetStore
from shared.service import Service, run
from shared.settings import Settings
from shared.worker import worker_service

NAME = "llm_worker"


@asynccontextmanager
async def create_service(settings: Settings) -> AsyncGenerator[Service]:
    """Yield the running worker; on leaving, the jobs in hand are finished."""
    assets = AssetStore.from_url(settings.require("assets_url"))
    await assets.check()
    client = ModelClient(
        base_url=settings.require("llm_base_url"),
        api_key=settings.llm_api_key.get_secret_value(),
        timeout=settings.llm_timeout,
    )
    try:
        body = LlmHandler(client, assets, default_model=settings.llm_model).execute
        async with worker_service(settings, "llm", body, concurrency=settings.llm_concurrency) as service:
            yield service
    finally:
        await client.close()


def main() -> None:
    """Run the llm worker."""
    run(NAME, create_service)
