"""The llm worker under load: how many streams one process holds, and what a call costs it.

`python -m benchmarks.llm` runs the worker's function, its real client and its real decoding processes against the
offline model server, which is a process of its own. No broker and no ledger: what is measured is the worker's own work.
"""

import argparse
import asyncio
import io
import resource
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import astuple, dataclass, field
from pathlib import Path
from uuid import uuid4

import httpx2
import psutil
import uvloop
from PIL import Image
from pydantic import JsonValue

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
from shared.contracts.values import ImageValue
from shared.decoding import DecoderPool, Limits
from shared.images import inspect
from shared.worker import Job, Succeeded
from shared.worker.job import Deadline
from shared.worker.progress import Progress

QUESTION = " ".join(f"word{number}" for number in range(60)) + "."
PICTURE_SIZE = (1600, 1200)
DECODERS = 2
SAMPLE_SECONDS = 0.05
_ANNOUNCEMENT = "offline model server (stand-in): "


class EveryCall:
    """Makes every call."""

    async def complete(self, call: ModelCall, ask: Ask) -> ModelReply:  # noqa: ARG002 - ModelCalls' form
        """Return what is answered."""
        return await ask()


@dataclass(frozen=True, slots=True)
class Load:
    """So many calls at once, with pauses of so many milliseconds in their streams, with or without a picture."""

    name: str
    calls: int
    pace_ms: int = 0
    picture: bool = False


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor seconds: of the worker's process, of its decoding processes, of the model server."""

    worker: float
    decoders: float
    server: float

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(self.worker - other.worker, self.decoders - other.decoders, self.server - other.server)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a load took: seconds, processor time, bytes of the worker's process before and at most.

    `peak` are the calls that were under way at once, as the server saw it; `progress` the events that were told.
    """

    load: Load
    seconds: float
    spent: Spent
    memory_before: int
    memory: int
    peak: int
    progress: int


@dataclass(slots=True)
class Bench:
    """A worker's function beside a model server of its own."""

    handler: LlmHandler
    assets: AssetStore
    server: psutil.Process
    base_url: str
    told: int = 0
    me: psutil.Process = field(default_factory=psutil.Process)

    async def measure(self, load: Load) -> Measured:
        """Do all calls of a load at once; exit if one of them fails."""
        jobs = [await self._job(load, number) for number in range(load.calls)]
        before, memory_before, started = self._spent(), self.me.memory_info().rss, time.perf_counter()
        async with _watched(self.me) as memory:
            outcomes = await asyncio.gather(*(self.handler.execute(job) for job in jobs))
        seconds, spent = time.perf_counter() - started, self._spent() - before
        lost = [outcome for outcome in outcomes if not isinstance(outcome, Succeeded)]
        if lost:
            raise SystemExit(f"{len(lost)} of {load.calls} calls failed, the first with {lost[0]}")
        return Measured(load, seconds, spent, memory_before, max(memory), await self._peak(), self.told)

    async def _job(self, load: Load, number: int) -> Job[LlmParams]:
        params: dict[str, JsonValue] = {"model": f"offline:pace={load.pace_ms}", "userMessage": f"{number}: {QUESTION}"}
        inputs: dict[str, tuple[JobInput, ...]] = {}
        if load.picture:
            asset = await self.assets.put_image(_photo(number), inspect(_photo(number)))
            inputs["images"] = (JobInput(source="photo", value=ImageValue(asset=asset)),)
        command = NodeExecute(run_id=uuid4(), node_id="ask", node_type="llm", params=params, inputs=inputs)
        progress = Progress(command, self._count)
        return Job(command, LlmParams.model_validate(params), self.assets, progress, Deadline(None))

    def _count(self, _progress: NodeProgress) -> None:
        self.told += 1

    def _spent(self) -> Spent:
        decoders = [child for child in self.me.children(recursive=True) if child.pid != self.server.pid]
        return Spent(_cpu(self.me), sum(map(_cpu, decoders)), _cpu(self.server))

    async def _peak(self) -> int:
        async with httpx2.AsyncClient(trust_env=False) as client:
            response = await client.get(self.base_url.removesuffix("/v1") + "/control/calls")
        return int(response.json()["peak"])


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="Measure the llm worker against the offline model server.")
    parser.add_argument("--streams", type=int, default=1_000, help="calls at once (default: %(default)s)")
    parser.add_argument("--pace", type=int, default=200, help="ms between pieces of a stream (default: %(default)s)")
    parser.add_argument("--pictures", type=int, default=200, help="calls that show a picture (default: %(default)s)")
    arguments = parser.parse_args()
    _allow_many_files()
    loads = [
        Load("streams at a model's pace", arguments.streams, arguments.pace),
        Load("streams as fast as they come", arguments.streams),
        Load("a picture in each call", arguments.pictures, picture=True),
    ]
    lines = _report([uvloop.run(_measured(load)) for load in loads])
    sys.stdout.write("\n".join(lines) + "\n")


async def _measured(load: Load) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        assets = AssetStore.from_url(Path(folder).as_uri())
        async with _model_server() as (server, base_url), _handler(base_url) as handler:
            await Bench(handler, assets, server, base_url).measure(Load("warm-up", 10, picture=True))
            return await Bench(handler, assets, server, base_url).measure(load)


@asynccontextmanager
async def _model_server() -> AsyncGenerator[tuple[psutil.Process, str]]:
    """Yield a model server's process and its base URL."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "llm_worker.offline_model", stderr=PIPE)
    assert process.stderr
    try:
        line = (await process.stderr.readline()).decode().rstrip()
        yield psutil.Process(process.pid), line.removeprefix(_ANNOUNCEMENT)
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def _handler(base_url: str) -> AsyncGenerator[LlmHandler]:
    directory = Directory([Provider(name="offline", base_url=base_url, models=("*",), timeout=600)])
    async with (
        open_clients(directory) as clients,
        DecoderPool.open(DECODERS, Limits(2**30, 10), PRELOAD) as decoders,
    ):
        yield LlmHandler(directory, clients, EveryCall(), decoders, default_model="offline")


@asynccontextmanager
async def _watched(process: psutil.Process) -> AsyncGenerator[list[int]]:
    """Yield what a process holds in memory, in bytes: more and more samples of it, while the context lasts."""
    samples = [process.memory_info().rss]

    async def watch() -> None:
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            samples.append(process.memory_info().rss)

    watching = asyncio.create_task(watch())
    try:
        yield samples
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


def _photo(number: int) -> bytes:
    """Return a picture that differs from the others, as large as a phone's preview."""
    image = Image.linear_gradient("L").resize(PICTURE_SIZE).convert("RGB")
    image.putpixel((number % PICTURE_SIZE[0], 0), (255, 0, 0))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _allow_many_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _report(results: list[Measured]) -> list[str]:
    names = ("load", "calls", "at once, seen by the server", "s", "calls/s", "worker's CPU per call", "its decoders'")
    more = ("server's", "memory before", "at most", "more for each call", "progress events")
    lines = ["| " + " | ".join((*names, *more)) + " |", "|" + "---|" * (len(names) + len(more))]
    return [*lines, *(_row(result) for result in results)]


def _row(result: Measured) -> str:
    calls = result.load.calls
    cells = (
        result.load.name,
        f"{calls:,}",
        f"{result.peak:,}",
        f"{result.seconds:.1f}",
        f"{calls / result.seconds:.0f}",
        *(f"{1000 * seconds / calls:.1f} ms" for seconds in astuple(result.spent)),
        f"{result.memory_before / 2**20:.0f} MiB",
        f"{result.memory / 2**20:.0f} MiB",
        f"{(result.memory - result.memory_before) / calls / 2**10:.0f} KiB",
        f"{result.progress:,}",
    )
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
