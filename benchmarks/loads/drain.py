"""A backlog: runs are accepted while no worker is there; then workers come, and do them all.

The jobs of all runs are in the queues when the workers come. Rates are those of results, over the first and the last
tenth of them. Memory is that of the services that know of runs, before and after.
"""

import asyncio
import time
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
_COUNT = "SELECT count(*) FROM orchestrator.run"


@dataclass(frozen=True, slots=True)
class Drained:
    """Nodes per second at the start and at the end; bytes of each service before the workers came, and at the end."""

    runs: int
    first: float
    last: float
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
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*ends)
    tenth = len(moments) // TENTH
    return Drained(
        runs, _rate(moments[: tenth + 1]), _rate(moments[-tenth - 1 :]), before=before, after=_memory(services)
    )


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
async def _results(url: str) -> AsyncGenerator[Sequence[float]]:
    """Yield the moments at which results came, which grow while the context lasts."""
    moments: list[float] = []

    async def take(incoming: AbstractIncomingMessage) -> None:
        moments.extend([time.perf_counter()] * _count_succeeded(incoming))

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


def _rate(moments: Sequence[float]) -> float:
    return (len(moments) - 1) / (moments[-1] - moments[0])


def _memory(services: Mapping[str, Server]) -> Mapping[str, int]:
    return {name: psutil.Process(server.process.pid).memory_info().rss for name, server in services.items()}
