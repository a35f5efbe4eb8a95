"""The crop worker's process."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crop_worker.handlers import crop_image
from shared.contracts.node_types import REGISTRY
from shared.service import Service, run
from shared.settings import Settings
from shared.worker import worker_service

NAME = "crop_worker"


@asynccontextmanager
async def create_service(settings: Settings) -> AsyncGenerator[Service]:
    """Yield the running worker; on leaving, the jobs in hand are finished."""
    async with worker_service(settings, REGISTRY["crop_image"], crop_image, settings.crop_concurrency) as service:
        yield service


def main() -> None:
    """Run the crop worker."""
    run(NAME, create_service)
