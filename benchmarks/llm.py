"""The llm worker under load: how many streams one process holds, and what a call costs it.

`python -m benchmarks.llm` runs the worker's function, its real client and its real decoding processes against the
offline model server, which is a process of its own. No broker and no ledger: what is measured is the worker's own work.
Each load has a process of its own, too: what one has taken of memory, the next would find. Exit codes as those of
`benchmarks.run`.
"""

import asyncio
import io
import multiprocessing
import resource
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import astuple, dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import httpx2
import psutil
import uvloop
from PIL import Image
from pydantic import JsonValue

from benchmarks.measures import MIB, RunsLostError, to_table
from benchmarks.processes import START_SECONDS, start
from benchmarks.spending import cpu_of
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
from shared.embedded.processes import accepts_connections, free_port
from shared.images import inspect
from shared.worker import Job, Succeeded
from shared.worker.job import Deadline
from shared.worker.progress import Progress

LONG_QUESTION = " ".join(f"word{number}" for number in range(60)) + "."
PICTURE_SIZE = (1600, 1200)
DECODERS = 2
WARM_UP_CALLS = 10
SAMPLE_SECONDS = 0.05
TITLE = "The llm worker under load"
PACKAGES = ("openai", "uvloop")
KIB = 2**10
_INTRODUCTION = f"""\
One process with the worker's function, its real client and {DECODERS} decoding processes, against the offline model
server in another process; no broker, no ledger. Each load has processes of its own, warmed up by {WARM_UP_CALLS} calls.
Answers have 73 pieces.
"""
_NOTES = """\
- The aim is that one worker process holds 200 streams at once.
- With pauses each piece of an answer is read, and told as progress, by itself; pieces that come as fast as they can are
  read, and told, many at a time: that is the difference between the worker's CPU time of the first two loads.
- With pictures of 2 megapixels the decoding processes are what limits it: a model that answers at once is then asked by
  few calls at a time, while the others wait for theirs to be made small.
"""

Result = TypeVar("Result")


class EveryCall:
    """Makes every call."""

    async def complete(self, call: ModelCall, ask: Ask) -> ModelReply:  # noqa: ARG002 - ModelCalls' form
        """Return what is answered."""
        return await ask()


@dataclass(frozen=True, slots=True)
class CallsLoad:
    """So many calls at once, with pauses of so many milliseconds in their streams, with or without a picture."""

    name: str
    calls: int
    pace_ms: int = 0
    picture: bool = False


@dataclass(frozen=True, slots=True)
class CallsSpent:
    """Processor seconds: of the worker's process, of its decoding processes, of the model server."""

    worker: float
    decoders: float
    server: float

    def __sub__(self, other: "CallsSpent") -> "CallsSpent":
        return CallsSpent(self.worker - other.worker, self.decoders - other.decoders, self.server - other.server)


@dataclass(frozen=True, slots=True)
class CallsMeasured:
    """What a load took: seconds, processor time, bytes of the worker's process before and at most.

    `peak` are the calls that were under way at once, as the server saw it; `progress` the events that were told.
    """

    load: CallsLoad
    seconds: float
    spent: CallsSpent
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

    async def measure(self, load: CallsLoad) -> CallsMeasured:
        """Do all calls of a load at once. Raises RunsLostError if one of them fails."""
        jobs = [await self._job(load, number) for number in range(load.calls)]
        before, memory_before, started = self._spent(), self.me.memory_info().rss, time.perf_counter()
        async with _watched(self.me) as memory:
            outcomes = await asyncio.gather(*(self.handler.execute(job) for job in jobs))
        seconds, spent = time.perf_counter() - started, self._spent() - before
        lost = [outcome for outcome in outcomes if not isinstance(outcome, Succeeded)]
        if lost:
            raise RunsLostError(f"{len(lost)} of {load.calls} calls failed, the first with {lost[0]}")
        return CallsMeasured(load, seconds, spent, memory_before, max(memory), await self._peak(), self.told)

    async def _job(self, load: CallsLoad, number: int) -> Job[LlmParams]:
        message = f"{number}: {LONG_QUESTION}"
        params: dict[str, JsonValue] = {"model": f"offline:pace={load.pace_ms}", "userMessage": message}
        inputs: dict[str, tuple[JobInput, ...]] = {}
        if load.picture:
            asset = await self.assets.put_image(_photo(number), inspect(_photo(number)))
            inputs["images"] = (JobInput(source="photo", value=ImageValue(asset=asset)),)
        command = NodeExecute(run_id=uuid4(), node_id="ask", node_type="llm", params=params, inputs=inputs)
        progress = Progress(command, self._count)
        return Job(command, LlmParams.model_validate(params), self.assets, progress, Deadline(None))

    def _count(self, _progress: NodeProgress) -> None:
        self.told += 1

    def _spent(self) -> CallsSpent:
        decoders = self.me.children(recursive=True)
        return CallsSpent(cpu_of(self.me), sum(map(cpu_of, decoders)), cpu_of(self.server))

    async def _peak(self) -> int:
        async with httpx2.AsyncClient(trust_env=False) as client:
            response = await client.get(self.base_url.removesuffix("/v1") + "/control/calls")
        return int(response.json()["peak"])


async def _measure_load(load: CallsLoad, folder: Path, base_url: str, server_pid: int) -> CallsMeasured:
    """Be the worker of one load."""
    assets, server = AssetStore.from_url(folder.as_uri()), psutil.Process(server_pid)
    async with _handler(base_url) as handler:
        await Bench(handler, assets, server, base_url).measure(CallsLoad("warm-up", WARM_UP_CALLS, picture=True))
        return await Bench(handler, assets, server, base_url).measure(load)


def _be_worker(load: CallsLoad, folder: Path, base_url: str, server_pid: int) -> CallsMeasured:
    return uvloop.run(_measure_load(load, folder, base_url, server_pid))


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


def _allow_many_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _report(results: Sequence[CallsMeasured]) -> str:
    names = ("load", "calls", "at once, seen by the server", "s", "calls/s", "worker's CPU per call", "its decoders'")
    more = ("server's", "memory before", "at most", "more for each call", "progress events")
    table = to_table((*names, *more), [_row(result) for result in results])
    return "\n".join([_INTRODUCTION, *table, "", _NOTES])


def _row(result: CallsMeasured) -> list[str]:
    calls = result.load.calls
    return [
        result.load.name,
        f"{calls:,}",
        f"{result.peak:,}",
        f"{result.seconds:.1f}",
        f"{calls / result.seconds:.0f}",
        *(f"{1000 * seconds / calls:.1f} ms" for seconds in astuple(result.spent)),
        f"{result.memory_before / MIB:.0f} MiB",
        f"{result.memory / MIB:.0f} MiB",
        f"{(result.memory - result.memory_before) / calls / KIB:.0f} KiB",
        f"{result.progress:,}",
    ]


def _measure(_resources: ExitStack, folder: Path, *, loads: Sequence[CallsLoad]) -> str:
    _allow_many_files()
    results: list[CallsMeasured] = []
    for number, load in enumerate(loads):
        with ExitStack() as resources:
            base_url, pid = start_model(resources, folder / "logs" / str(number))
            results.append(_in_own_process(partial(_be_worker, load, folder / "assets", base_url, pid)))
    return _report(results)


def start_model(resources: ExitStack, folder: Path) -> tuple[str, int]:
    """Start an offline model server; return its base URL and its process id."""
    folder.mkdir(parents=True)
    port = free_port()
    command = [sys.executable, "-m", "llm_worker.offline_model", "--port", str(port)]
    server = start(resources, "model", command, log=folder / "model.log", env={})
    server.wait_until(lambda: accepts_connections(port), timeout=START_SECONDS, cancelled=threading.Event())
    return f"http://127.0.0.1:{port}/v1", server.process.pid


def _in_own_process(work: Callable[[], Result]) -> Result:
    """Return what a function does in a new process, or raise what it raises."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as processes, _none_left():
        return processes.submit(work).result()


@contextmanager
def _none_left() -> Generator[None]:
    """End the processes whose work is not waited for any more. Its decoding processes end with their connections."""
    try:
        yield
    except BaseException:
        for process in multiprocessing.active_children():
            process.kill()
        raise


def main() -> int:
    """Measure, and print the report."""
    # The processes of the loads import this module, too, and are to hold in memory what a worker does, and no more.
    from benchmarks.command import head_of_report, new_parser, positive, run_command  # noqa: PLC0415

    parser = new_parser("llm", "Measure the llm worker against the offline model server.")
    parser.add_argument("--streams", type=positive, default=1_000, help="calls at once (default 1,000)")
    parser.add_argument("--pace", type=positive, default=200, help="ms between pieces of a stream (default 200)")
    parser.add_argument("--pictures", type=positive, default=200, help="calls that show a picture (default 200)")
    options = parser.parse_args()
    loads = [
        CallsLoad("streams at a model's pace", options.streams, options.pace),
        CallsLoad("streams as fast as they come", options.streams),
        CallsLoad("a picture in each call", options.pictures, picture=True),
    ]
    head = head_of_report("llm", title=TITLE, packages=PACKAGES)
    return run_command(partial(_measure, loads=loads), head=head, output=options.output)


if __name__ == "__main__":
    sys.exit(main())
