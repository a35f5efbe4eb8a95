"""Real bodies: photographs are cropped, and an offline model is asked, by Weft, and without any engine.

The bare side calls the same functions, in this process, as many at a time as Weft's workers do, with as many
decoding processes as they have; no broker, no journal, no history, no ledger of model calls.
"""

import asyncio
import io
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import uvloop

from benchmarks.crop_sides import photo
from benchmarks.llm import EveryCall, start_model
from benchmarks.measures import PATIENCE, RunsLostError
from benchmarks.processes import start_services
from benchmarks.shapes import sample
from benchmarks.weft_client import WeftClient, open_client
from benchmarks.weft_side import SERVICES, graph
from crop_worker.handlers import Cropper
from crop_worker.main import PRELOAD as CROP_PRELOAD
from llm_worker.clients import open_clients
from llm_worker.domain.directory import Directory
from llm_worker.domain.provider import Provider
from llm_worker.handlers import LlmHandler
from llm_worker.main import PRELOAD as LLM_PRELOAD
from shared.assets import AssetStore
from shared.contracts.commands import JobInput, NodeExecute
from shared.contracts.graph import WorkflowGraph
from shared.contracts.node_types import REGISTRY
from shared.contracts.values import AssetRef, ImageValue, Value
from shared.decoding import DecoderPool, Limits
from shared.images import QUALITY, inspect
from shared.settings import Settings
from shared.worker import Job, Succeeded
from shared.worker.job import Deadline
from shared.worker.progress import Progress

PHOTO_SIZE = (1_920, 1_080)  # 2 megapixels
PHOTOS = 4
LATENCY_MS = 50
MODEL = f"offline:slow={LATENCY_MS}"
WORKERS: Mapping[str, Sequence[str]] = {"crop_worker": ["crop_worker"], "llm_worker": ["llm_worker"]}


@dataclass(frozen=True, slots=True)
class Both:
    """The seconds that the same runs took: by Weft, and bare."""

    weft: float
    bare: float


def measure_bodies(settings: Settings, folder: Path, *, runs: int, rounds: int) -> Sequence[Both]:
    """Do the runs in turn with Weft and without, so many times. Raises RunsLostError."""
    with ExitStack() as resources:
        folder.mkdir(parents=True, exist_ok=True)
        model_url, _ = start_model(resources, folder / "model")
        start_services(resources, settings, {**SERVICES, **WORKERS}, folder=folder, model_url=model_url)
        return uvloop.run(_measure(settings, model_url, runs, rounds))


async def _measure(settings: Settings, model_url: str, runs: int, rounds: int) -> Sequence[Both]:
    assets = AssetStore.from_url(settings.require("assets_url"))
    pictures = await _pictures(assets)
    graphs = [graph(sample(), pictures[number % PHOTOS], model=MODEL) for number in range(runs)]
    async with open_client(settings.require("amqp_url")) as client, _bare(settings, model_url, assets) as bare:
        both = [await _turn(client, bare, graphs, weft_first=bool(number % 2)) for number in range(rounds + 1)]
    return both[1:]  # the first was to warm up


async def _turn(client: WeftClient, bare: "BareBodies", graphs: Sequence[WorkflowGraph], *, weft_first: bool) -> Both:
    if weft_first:
        weft = await _run_weft(client, graphs)
        return Both(weft, await bare.run(graphs))
    seconds = await bare.run(graphs)
    return Both(await _run_weft(client, graphs), seconds)


async def _pictures(assets: AssetStore) -> Sequence[Mapping[str, Any]]:
    """Return references to stored photographs."""
    references: list[Mapping[str, Any]] = []
    for _ in range(PHOTOS):
        buffer = io.BytesIO()
        photo(PHOTO_SIZE).save(buffer, "JPEG", quality=QUALITY)
        asset = await assets.put_image(buffer.getvalue(), inspect(buffer.getvalue()))
        references.append(asset.model_dump(mode="json", by_alias=True))
    return references


async def _run_weft(client: WeftClient, graphs: Sequence[WorkflowGraph]) -> float:
    started = time.perf_counter()
    await asyncio.gather(*(client.run(graph, 1) for graph in graphs))
    return time.perf_counter() - started


class BareBodies:
    """Calls the functions of the workers in the order that a workflow asks for, as many at a time as workers do."""

    def __init__(self, settings: Settings, cropper: Cropper, handler: LlmHandler, assets: AssetStore) -> None:
        self._assets = assets
        self._functions: Mapping[str, Any] = {"crop_image": cropper.crop_image, "llm": handler.execute}
        self._slots = {
            "crop_image": asyncio.Semaphore(settings.crop_concurrency),
            "llm": asyncio.Semaphore(settings.llm_concurrency),
        }

    async def run(self, graphs: Sequence[WorkflowGraph]) -> float:
        """Do all at once; return the seconds until all have ended. Raises RunsLostError."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*map(self._run, graphs))
        except TimeoutError as err:
            raise RunsLostError(f"bare bodies: not all had ended after {PATIENCE:.0f} s") from err
        return time.perf_counter() - started

    async def _run(self, graph: WorkflowGraph) -> None:
        nodes: dict[str, asyncio.Task[Value]] = {}
        for node in graph.nodes:
            edges = [(edge.target_handle, edge.source) for edge in graph.edges if edge.target == node.id]
            sources = [(handle, source, nodes[source]) for handle, source in edges]
            nodes[node.id] = asyncio.create_task(self._do(node.id, node.type, node.params, sources))
        await asyncio.gather(*nodes.values())

    async def _do(
        self, node_id: str, node_type: str, params: Any, sources: Sequence[tuple[str, str, "asyncio.Task[Value]"]]
    ) -> Value:
        inputs: dict[str, tuple[JobInput, ...]] = {}
        for handle, source, output in sources:
            inputs[handle] = (*inputs.get(handle, ()), JobInput(source=source, value=await output))
        if node_type == "upload_image":
            return ImageValue(asset=AssetRef.model_validate(params["asset"]))
        command = NodeExecute(run_id=uuid4(), node_id=node_id, node_type=node_type, params=params, inputs=inputs)
        async with self._slots[node_type]:
            outcome = await self._functions[node_type](self._job(command))
        if not isinstance(outcome, Succeeded):
            raise RunsLostError(f"bare bodies: {outcome}")
        return outcome.output

    def _job(self, command: NodeExecute) -> Job[Any]:
        params = REGISTRY[command.node_type].params.model_validate(command.params)
        return Job(command, params, self._assets, Progress(command, lambda _: None), Deadline(None))


@asynccontextmanager
async def _bare(settings: Settings, model_url: str, assets: AssetStore) -> AsyncGenerator[BareBodies]:
    directory = Directory([Provider(name="offline", base_url=model_url, models=("*",))])
    limits = Limits(settings.decode_memory_bytes, settings.decode_cpu_seconds)
    async with (
        open_clients(directory) as clients,
        DecoderPool.open(settings.crop_concurrency, limits, CROP_PRELOAD) as croppers,
        DecoderPool.open(settings.llm_decoders, limits, LLM_PRELOAD) as decoders,
    ):
        handler = LlmHandler(directory, clients, EveryCall(), decoders, default_model=MODEL)
        yield BareBodies(settings, Cropper(croppers), handler, assets)
