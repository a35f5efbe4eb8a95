"""Jobs for the llm worker's function, without a broker: what it is given, what it tells, what comes of it."""

import asyncio
import io
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from uuid import uuid4

from PIL import Image

from llm_worker.clients import open_clients
from llm_worker.domain.directory import Directory
from llm_worker.domain.model import Ask, ModelCall, ModelReply
from llm_worker.domain.provider import Provider
from llm_worker.handlers import LlmHandler
from llm_worker.main import PRELOAD
from shared.assets import AssetStore
from shared.contracts.commands import JobInput, NodeExecute
from shared.contracts.events import NodeProgress
from shared.contracts.llm_params import LlmParams
from shared.contracts.values import AssetRef, ImageValue, TextValue
from shared.decoding import DecoderPool, Limits
from shared.images import inspect
from shared.worker import Job, Outcome
from shared.worker.job import Deadline
from shared.worker.progress import Progress


class EveryCall:
    """Makes every call, and keeps it."""

    def __init__(self) -> None:
        self.made: list[ModelCall] = []

    async def complete(self, call: ModelCall, ask: Ask) -> ModelReply:
        self.made.append(call)
        return await ask()


def offline(base_url: str, **fields: Any) -> Provider:
    """Return a provider at the stand-in; `profile` says which kind of server it is taken for."""
    return Provider.model_validate({"name": "offline", "models": ["offline*"], "base_url": base_url, **fields})


def opened_decoders() -> AbstractAsyncContextManager[DecoderPool]:
    return DecoderPool.open(1, Limits(2**30, 10), PRELOAD)


@asynccontextmanager
async def opened_handler(
    providers: Sequence[Provider], decoders: DecoderPool, calls: EveryCall | None = None
) -> AsyncGenerator[LlmHandler]:
    directory = Directory(providers)
    async with open_clients(directory) as clients:
        yield LlmHandler(directory, clients, calls or EveryCall(), decoders, default_model="offline")


class Desk:
    """Gives jobs to a handler, and keeps the progress that they tell."""

    def __init__(self, handler: LlmHandler, assets: AssetStore, calls: EveryCall) -> None:
        self.calls = calls.made
        self.told: list[NodeProgress] = []
        self._handler = handler
        self._assets = assets

    def job(self, params: dict[str, Any], **inputs: Sequence[tuple[str, TextValue | ImageValue]]) -> Job[LlmParams]:
        """Return a job with these params (by their names on the wire) and labelled inputs."""
        given = {
            handle: tuple(JobInput(source=label, value=value) for label, value in values)
            for handle, values in inputs.items()
        }
        command = NodeExecute(run_id=uuid4(), node_id="ask", node_type="llm", params=params, inputs=given)
        tell: Callable[[NodeProgress], None] = self.told.append
        return Job(command, LlmParams.model_validate(params), self._assets, Progress(command, tell), Deadline(None))

    async def do(self, params: dict[str, Any], **inputs: Sequence[tuple[str, TextValue | ImageValue]]) -> Outcome:
        async with asyncio.timeout(30):
            return await self._handler.execute(self.job(params, **inputs))

    async def upload(self, image: Image.Image, form: str = "PNG", **options: Any) -> AssetRef:
        buffer = io.BytesIO()
        image.save(buffer, form, **options)
        return await self._assets.put_image(buffer.getvalue(), inspect(buffer.getvalue()))


def text(value: str) -> TextValue:
    return TextValue(text=value)
