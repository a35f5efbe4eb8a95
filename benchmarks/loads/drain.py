"""A backlog: runs are accepted while no worker is there; then workers come, and do them all.

The first jobs of all runs are in the queues when the workers come. Rates are those of results, in the first and in the
last tenth of them. The first are crops for the most part, the last are answers alone; so the rate of crops is told as
well, in their second and their last tenth, while both workers are busy. Memory is that of the services that know of
runs, before and after.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import uvloop
from aio_pika.abc import AbstractIncomingMessage

from benchmarks.measures import RunsLostError
from benchmarks.processes import start_services
from benchmarks.shapes import Shape, sample
from benchmarks.weft_client import POLL_SECONDS, WeftClient, open_client
from benchmarks.weft_side import SERVICES, WORKERS, graph, open_history
from shared.contracts.bundles import Bundle, unbundle
from shared.contracts.events import NodeSucceeded
from shared.contracts.states import RunStatus
from shared.database import Database
from shared.embedded.processes import Server
from shared.messaging.connection import connect
from shared.settings import Settings
from shared.topology import RESULTS

PATIENCE = 900.0  # seconds, for all runs; a limit for a broken system
TENTH = 10
CROP_WORKER = "crop_image_worker"  # as it tells its name to the broker
_COUNT = "SELECT count(*) FROM orchestrator.run"


@dataclass(frozen=True, slots=True)
class Rates:
    """Nodes per second at the start and at the end."""

    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Drained:
    """Rates of all nodes, and of crops alone; bytes of each service before the workers came, and at the end."""

    runs: int
    nodes: Rates
    crops: Rates
    before: Mapping[str, int]
    after: Mapping[str, int]


def measure_drain(settings: Settings, folder: Path, *, runs: int) -> Drained:
    """Let runs wait, then have them done. Raises RunsLostError."""
    with ExitStack() as resources:
        services = start_services(resources, settings, SERVICES, folder=folder)

        def start_workers() -> None:
            start_services(resources, settings, WORKERS, folder=folder)

        return uvloop.run(_drain(settings, services, runs, start_workers))


async def _drain(
    settings: Settings, services: Mapping[str, Server], runs: int, start_workers: Callable[[], None]
) -> Drained:
    url = settings.require("amqp_url")
    async with (
        open_client(url, patience=PATIENCE) as client,
        open_history(settings) as database,
        _results(url) as moments,
    ):
        ends = await _submit(client, database, sample(), runs)
        before = _memory(services)
        await asyncio.to_thread(start_workers)
        await _wait_until_completed(ends)
    every = sorted(moment for of_worker in moments.values() for moment in of_worker)
    nodes, crops = _rates(every, before_it=0), _rates(moments[CROP_WORKER], before_it=1)
    return Drained(runs, nodes, crops, before=before, after=_memory(services))


async def _wait_until_completed(ends: "Sequence[asyncio.Future[RunStatus]]") -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            statuses = set(await asyncio.gather(*ends))
    except TimeoutError as err:
        raise RunsLostError(f"Weft: {len(ends)} runs had not all ended after {PATIENCE:.0f} s") from err
    if statuses != {RunStatus.COMPLETED}:
        raise RunsLostError(f"Weft: runs ended as {sorted(statuses)}")


async def _submit(
    client: WeftClient, database: Database, shape: Shape, runs: int
) -> "Sequence[asyncio.Future[RunStatus]]":
    """Start runs; return how they will end, once the orchestrator has accepted all of them."""
    known = await _count(database)
    ends = await client.submit(graph(shape), runs)
    deadline = time.monotonic() + PATIENCE
    while await _count(database) < known + runs:
        if time.monotonic() > deadline:
            raise RunsLostError(f"Weft: {runs} runs were not accepted in {PATIENCE:.0f} s")
        await asyncio.sleep(POLL_SECONDS)
    return list(ends.values())


async def _count(database: Database) -> int:
    async with database.transaction() as connection:
        return await connection.fetchval(_COUNT)


@asynccontextmanager
async def _results(url: str) -> AsyncGenerator[Mapping[str, Sequence[float]]]:
    """Yield the moments at which results came, by the worker's name; they grow while the context lasts."""
    moments = defaultdict[str, list[float]](list)

    async def take(incoming: AbstractIncomingMessage) -> None:
        moments[incoming.app_id or ""] += [time.perf_counter()] * _count_succeeded(incoming)

    async with connect(url, name="benchmark results", patience=PATIENCE) as connection:
        queue = await (await connection.channel()).declare_queue(exclusive=True)
        await queue.bind(RESULTS, "node.#")
        await queue.consume(take, no_ack=True)
        yield moments


def _count_succeeded(incoming: AbstractIncomingMessage) -> int:
    """Return how many nodes a message says to have succeeded."""
    kinds = (
        [entry.kind for entry, _ in unbundle(incoming.body)] if incoming.type == Bundle.kind_name() else [incoming.type]
    )
    return kinds.count(NodeSucceeded.kind_name())


def _rates(moments: Sequence[float], *, before_it: int) -> Rates:
    """Return the rates of one tenth of all, before which there were so many, and of the last tenth."""
    tenth = len(moments) // TENTH
    return Rates(_rate(moments[before_it * tenth : (before_it + 1) * tenth + 1]), _rate(moments[-tenth - 1 :]))


def _rate(moments: Sequence[float]) -> float:
    return (len(moments) - 1) / (moments[-1] - moments[0])


def _memory(services: Mapping[str, Server]) -> Mapping[str, int]:
    return {name: psutil.Process(server.process.pid).memory_info().rss for name, server in services.items()}
