"""`python -m benchmarks.streams`: what 1,000 open streams of live events cost one gateway, and how late they tell.

Streams of runs are opened; then events of these runs are published at a steady pace, and each stream notes when an
event reached it. Client and servers share the machine. Exit codes as those of `benchmarks.run`.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from uuid import UUID, uuid4

import httpx2
import psutil
import uvloop

from benchmarks.command import head_of_report, new_parser, positive, run_command, say, start_stack
from benchmarks.measures import MIB, RunsLostError, to_table
from benchmarks.processes import start_services
from benchmarks.spending import cpu_of
from benchmarks.weft_client import POLL_SECONDS
from benchmarks.weft_side import open_history
from shared.contracts.events import NodeProgress, NodeSummary, RunStarted
from shared.contracts.states import NodeStatus
from shared.database import Database
from shared.embedded.processes import Server
from shared.messaging.publisher import Publisher, open_publisher
from shared.settings import Settings

OPENING_AT_ONCE = 50
FEW = 10  # streams, beside which many are seen
PATIENCE = 60.0  # seconds for all streams to be open, and for all events to arrive
_KNOWN = "SELECT count(*) FROM run_tracker.workflow_run WHERE run_id = ANY($1::uuid[])"
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
class StreamLoad:
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
        """Keep a stream open for each of these. Raises RunsLostError where they do not open."""
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx2.AsyncClient(
            base_url=self._url, headers=self._headers, limits=limits, timeout=PATIENCE, trust_env=False
        ) as http:
            tasks = [asyncio.create_task(self._watch(http, run_id)) for run_id in run_ids]
            try:
                await self._all_open(len(run_ids))
                yield
                if broken := sum(task.done() for task in tasks):
                    say(f"{broken} streams broke; what is told below is not of all")
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def told(self, count: int) -> None:
        """Return when clients have been told so many events in all, or after `PATIENCE`."""
        await self._until(lambda: len(self.delays) >= count)

    async def _all_open(self, count: int) -> None:
        try:
            await self._until(lambda: self._open == count)
        except TimeoutError as err:
            raise RunsLostError(f"{count - self._open} of {count} streams did not open in {PATIENCE:.0f} s") from err

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


async def _start_runs(publisher: Publisher, database: Database, count: int) -> list[UUID]:
    """Tell of runs that have begun, whose events are all that matters here; return when the history knows them."""
    run_ids = [uuid4() for _ in range(count)]
    node = NodeSummary(node_id="ask", node_type="llm", status=NodeStatus.PENDING)
    await publisher.publish_all(RunStarted(run_id=run_id, at=datetime.now(UTC), nodes=(node,)) for run_id in run_ids)
    deadline = time.perf_counter() + PATIENCE
    while await _count_known(database, run_ids) < count:
        if time.perf_counter() > deadline:
            raise RunsLostError(f"not all of {count} runs were recorded in {PATIENCE:.0f} s")
        await asyncio.sleep(POLL_SECONDS)
    return run_ids


async def _count_known(database: Database, run_ids: Sequence[UUID]) -> int:
    async with database.transaction() as connection:
        return await connection.fetchval(_KNOWN, run_ids)


async def _publish(publisher: Publisher, run_ids: Sequence[UUID], load: StreamLoad) -> None:
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


async def _row_of(settings: Settings, url: str, pid: int, load: StreamLoad) -> tuple[str, ...]:
    """Measure a load; return its row."""
    gateway = psutil.Process(pid)
    async with (
        open_publisher(settings.require("amqp_url"), app_id="bench", patience=30) as publisher,
        open_history(settings) as database,
    ):
        run_ids = await _start_runs(publisher, database, load.runs)
        before = gateway.memory_info().rss
        streams = Streams(url, gateway.environ()["WEFT_API_KEY"])
        async with streams.watching([run_ids[number % load.runs] for number in range(load.streams)]):
            opened = gateway.memory_info().rss
            cpu, started = cpu_of(gateway), time.perf_counter()
            await _publish(publisher, run_ids, load)
            expected = load.events * load.streams // load.runs
            try:
                await streams.told(expected)
            except TimeoutError:
                say("not all events arrived")
            seconds = time.perf_counter() - started
            used = cpu_of(gateway) - cpu
    return _row(load, streams.delays, expected, before=before, opened=opened, cpu=used / seconds)


def _row(
    load: StreamLoad, delays: Sequence[float], expected: int, *, before: int, opened: int, cpu: float
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


def _address(server: Server) -> str:
    """Return where a service answers, as its log says."""
    entries = (json.loads(line) for line in server.log.read_text().splitlines())
    return next(entry["address"] for entry in entries if entry["event"] == "ready")


def _measure(resources: ExitStack, folder: Path, *, streams: int, seconds: float) -> str:
    """Measure few streams for comparison, many streams of many runs, and many streams of one run."""
    few = min(FEW, streams)
    loads = (
        StreamLoad(few, few, 20, seconds),
        StreamLoad(streams, streams, 200, seconds),
        StreamLoad(streams, 1, 1, seconds),
    )
    settings = start_stack(resources, folder)
    services = {name: [name] for name in ("run_tracker", "gateway")}
    gateway = start_services(resources, settings, services, folder=folder / "logs")["gateway"]
    rows = [uvloop.run(_row_of(settings, _address(gateway), gateway.process.pid, load)) for load in loads]
    return "\n".join([*to_table(COLUMNS, rows), ""])


def main() -> int:
    """Measure, and print the report."""
    parser = new_parser("streams", __doc__)
    parser.add_argument("--streams", type=positive, default=1_000, help="streams at once (default 1,000)")
    parser.add_argument("--seconds", type=float, default=20.0, help="for how long events are published (default 20)")
    options = parser.parse_args()
    measure = partial(_measure, streams=options.streams, seconds=options.seconds)
    return run_command(measure, head=head_of_report("streams"), output=options.output)


if __name__ == "__main__":
    sys.exit(main())
