"""The llm worker's process."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

from prometheus_client import CollectorRegistry

from llm_worker.admission import ProviderAdmission
from llm_worker.clients import open_clients
from llm_worker.configuration import read_directory
from llm_worker.domain.directory import Directory
from llm_worker.handlers import LlmHandler
from llm_worker.opening import OpenCalls, open_calls
from llm_worker.telemetry import ModelTelemetry
from shared.contracts.node_types import REGISTRY
from shared.decoding import DecoderPool, Limits
from shared.service import Service, run
from shared.settings import Settings
from shared.telemetry.metrics import new_registry
from shared.worker import worker_service

NAME = "llm_worker"
PRELOAD = ("llm_worker.downscaling",)


@asynccontextmanager
async def create_service(settings: Settings) -> AsyncGenerator[Service]:
    """Yield the running worker; on leaving, the jobs in hand are finished, and what they cost is written down."""
    directory, registry = read_directory(settings), new_registry(NAME)
    async with (
        open_calls(settings, directory.providers.values(), registry) as opened,
        _worker(settings, directory, opened, registry) as service,
    ):
        yield replace(service, background=[*service.background, opened.failure])


@asynccontextmanager
async def _worker(
    settings: Settings, directory: Directory, opened: OpenCalls, registry: CollectorRegistry
) -> AsyncGenerator[Service]:
    model, slots = settings.llm_model, _slots(settings, directory)
    admission = ProviderAdmission(opened.calls, directory, default_model=model, slots=slots)
    telemetry = ModelTelemetry(registry, directory.providers.values(), default_model=model)
    limits = Limits(settings.decode_memory_bytes, settings.decode_cpu_seconds)
    async with (
        open_clients(directory, telemetry) as clients,
        DecoderPool.open(settings.llm_decoders, limits, PRELOAD) as decoders,
    ):
        function = LlmHandler(directory, clients, opened.calls, decoders, default_model=model).execute
        async with worker_service(
            settings, REGISTRY["llm"], function, slots, checks=opened.checks, admission=admission, registry=registry
        ) as service:
            yield service


def _slots(settings: Settings, directory: Directory) -> int:
    """Return how many jobs to have in hand: no more than may be under way, so that the others wait in their queues."""
    limits = [provider.limits.concurrency for provider in directory.providers.values()]
    together = sum(limit for limit in limits if limit is not None)
    return settings.llm_concurrency if None in limits else min(settings.llm_concurrency, together)


def main() -> None:
    """Run the llm worker."""
    run(NAME, create_service)
