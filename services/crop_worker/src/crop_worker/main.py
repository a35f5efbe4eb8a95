"""The crop worker's process."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crop_worker.handlers import CropHandler
from shared.assets import AssetStore
from shared.service import Service, run
from shared.settings import Settings
from shared.worker import worker_service

NAME = "crop_worker"


@asynccontextmanager
async def create_service(settings: Settings) -> AsyncGenerator[Service]:
    """Yield the running worker; on leaving, the jobs in hand are finished."""
    assets = AssetStore.from_url(settings.require("assets_url"))
    await assets.check()
    body = CropHandler(assets).execute
    async with worker_service(settings, "crop_image", body, concurrency=settings.crop_concurrency) as service:
        yield service


def main() -> None:
    """Run the crop worker."""
    run(NAME, create_service)
