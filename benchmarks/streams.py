"""`python -m benchmarks.streams`: what 1,000 open streams of live events cost one gateway, and how late they tell.

Streams of runs are opened; then events of these runs are published at a steady pace, and each stream notes when an
event reached it. Client and servers share the machine.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from uuid import UUID, uuid4

import httpx2
import psutil
import uvloop

from benchmarks.command import start_stack
from benchmarks.machine import describe_machine
from benchmarks.processes import start_services
from benchmarks.report import to_table
from shared.contracts.events import NodeProgress, NodeSummary, RunStarted
from shared.contracts.states import NodeStatus
from shared.embedded.processes import Server
from shared.messaging.publisher import Publisher, open_publisher
from shared.settings import Settings

OPENING_AT_ONCE = 50
PATIENCE = 60.0  # seconds for all streams to be open, and for all events to arrive
MIB = 1024 * 1024
COLUMNS = (
    "streams",
    "runs",
    "events/s",
    "told/s",
    "RSS MiB",
    "MiB per 100 streams",
    "CPU % of a core",
    "p50 ms",
    "p95 ms",
    "not told",
)


@dataclass(frozen=True, slots=True)
class Load:
    """How many streams, over how many runs, and how many events a second for how long."""

    streams: int
    runs: int
    rate: float
    seconds: float

    @property
    def events(self) -> int:
        """How many events are published in all."""
        return int(self.rate * self.seconds)


class Streams:
    """Clients that watch; `delays` are the seconds from the publishing of an event until a client had it."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"}
        self.delays: list[float] = []
        self._open = 0
        self._changed = asyncio.Event()
        self._limit = asyncio.Semaphore(OPENING_AT_ONCE)

    @asynccontextmanager
    async def watching(self, run_ids: Sequence[UUID]) -> AsyncGenerator[None]:
        """Keep a stream open for each of these."""
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx2.AsyncClient(
            base_url=self._url, headers=self._headers, limits=limits, timeout=PATIENCE, trust_env=False
        ) as http:
            tasks = [asyncio.create_task(self._watch(http, run_id)) for run_id in run_ids]
            try:
                await self._until(lambda: self._open == len(run_ids))
                yield
                if broken := sum(task.done() for task in tasks):
                    sys.stderr.write(f"{broken} streams broke; what is told below is not of all\n")
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def told(self, count: int) -> None:
        """Return when clients have been told so many events in all, or after `PATIENCE`."""
        await self._until(lambda: len(self.delays) >= count)

    async def _watch(self, http: httpx2.AsyncClient, run_id: UUID) -> None:
        async with self._limit:
            source = await http.send(http.build_request("GET", f"/api/workflows/runs/{run_id}/events"), stream=True)
        async for event in httpx2.EventSource(source):
            if event.event == "run.snapshot":
                self._open += 1
            elif event.event == NodeProgress.kind_name():
                at = NodeProgress.model_validate_json(event.data).at
                self.delays.append((datetime.now(UTC) - at).total_seconds())
            self._changed.set()

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not holds():
                self._changed.clear()
                await self._changed.wait()


async def _start_runs(publisher: Publisher, count: int) -> list[UUID]:
    """Tell of runs that have begun: their events are all that matters here."""
    run_ids = [uuid4() for _ in range(count)]
    node = NodeSummary(node_id="ask", node_type="llm", status=NodeStatus.PENDING)
    await publisher.publish_all(RunStarted(run_id=run_id, at=datetime.now(UTC), nodes=(node,)) for run_id in run_ids)
    return run_ids


async def _publish(publisher: Publisher, run_ids: Sequence[UUID], load: Load) -> None:
    started = time.perf_counter()
    for number in range(load.events):
        await asyncio.sleep(max(0.0, started + number / load.rate - time.perf_counter()))
        piece = NodeProgress(
            run_id=run_ids[number % len(run_ids)],
            node_id="ask",
            node_type="llm",
            at=datetime.now(UTC),
            sequence=number + 1,
            text="a few words of an answer",
        )
        publisher.publish_transient(piece)


async def measure(settings: Settings, url: str, pid: int, load: Load) -> tuple[str, ...]:
    """Return a row of the table of results."""
    gateway = psutil.Process(pid)
    async with open_publisher(settings.require("amqp_url"), app_id="bench", patience=30) as publisher:
        run_ids = await _start_runs(publisher, load.runs)
        before = gateway.memory_info().rss
        streams = Streams(url, gateway.environ()["WEFT_API_KEY"])
        async with streams.watching([run_ids[number % load.runs] for number in range(load.streams)]):
            opened = gateway.memory_info().rss
            cpu, started = _cpu(gateway), time.perf_counter()
            await _publish(publisher, run_ids, load)
            expected = load.events * load.streams // load.runs
            try:
                await streams.told(expected)
            except TimeoutError:
                sys.stderr.write("not all events arrived\n")
            seconds = time.perf_counter() - started
            used = _cpu(gateway) - cpu
    return _row(load, streams.delays, expected, before=before, opened=opened, cpu=used / seconds)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _row(
    load: Load, delays: Sequence[float], expected: int, *, before: int, opened: int, cpu: float
) -> tuple[str, ...]:
    per_hundred = (opened - before) / MIB / load.streams * 100
    return (
        f"{load.streams:,}",
        f"{load.runs:,}",
        f"{load.rate:g}",
        f"{load.rate * load.streams / load.runs:,.0f}",
        f"{opened / MIB:.0f}",
        f"{per_hundred:.1f}",
        f"{100 * cpu:.0f}",
        f"{1000 * median(delays):.0f}",
        f"{1000 * quantiles(delays, n=20)[-1]:.0f}",
        str(expected - len(delays)),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--output", type=Path, help="a file for the report; else stdout")
    return parser.parse_args()


def _address(server: Server) -> str:
    """Return where a service answers, as its log says."""
    entries = (json.loads(line) for line in server.log.read_text().splitlines())
    return next(entry["address"] for entry in entries if entry["event"] == "ready")


def main() -> None:
    """Measure: many streams of many runs, many streams of one run, and few streams for comparison."""
    options = _arguments()
    few, many = 10, options.streams
    loads = (
        Load(few, few, 20, options.seconds),
        Load(many, many, 200, options.seconds),
        Load(many, 1, 1, options.seconds),
    )
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as resources:
        settings = start_stack(resources, Path(folder))
        servers = start_services(
            resources, settings, {name: [name] for name in ("run_tracker", "gateway")}, folder=Path(folder) / "services"
        )
        url = _address(servers["gateway"])
        rows = [uvloop.run(measure(settings, url, servers["gateway"].process.pid, load)) for load in loads]
    table = "\n".join(to_table(COLUMNS, rows))
    report = f"{' '.join(['python -m benchmarks.streams', *sys.argv[1:]])}\n\n{machine}\n\n{table}\n"
    if options.output:
        options.output.write_text(report)
    sys.stdout.write(report)


if __name__ == "__main__":
    main()
