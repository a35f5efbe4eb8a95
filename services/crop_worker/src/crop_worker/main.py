"""The crop worker's process."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crop_worker.handlers import Cropper
from shared.contracts.node_types import REGISTRY
from shared.decoding import DecoderPool, Limits
from shared.service import Service, run
from shared.settings import Settings
from shared.worker import worker_service

NAME = "crop_worker"
PRELOAD = ("crop_worker.body", "crop_worker.smart")


@asynccontextmanager
async def create_service(settings: Settings) -> AsyncGenerator[Service]:
    """Yield the running worker; on leaving, the jobs in hand are finished."""
    limits = Limits(settings.decode_memory_bytes, settings.decode_cpu_seconds)
    async with (
        DecoderPool.open(settings.crop_concurrency, limits, PRELOAD) as pool,
        worker_service(
            settings, REGISTRY["crop_image"], Cropper(pool).crop_image, settings.crop_concurrency
        ) as service,
    ):
        yield service


def main() -> None:
    """Run the crop worker."""
    run(NAME, create_service)
