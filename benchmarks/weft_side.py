"""Weft under measurement: everything on, only the bodies of the jobs do nothing."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import uvloop
from aio_pika.abc import AbstractIncomingMessage

from benchmarks.measures import NODES, PATIENCE, Batch, RunsLostError, Turn
from benchmarks.processes import start_services
from shared.contracts.graph import WorkflowGraph, read_graph
from shared.contracts.messages import RunFinished, RunStart, read_event
from shared.contracts.states import RunStatus
from shared.database import Database, connect_database
from shared.messaging.connection import connect
from shared.messaging.publisher import Publisher, open_publisher
from shared.settings import Settings
from shared.topology import EVENTS

SERVICES: Mapping[str, Sequence[str]] = {
    "orchestrator": ["orchestrator"],
    "run_tracker": ["run_tracker"],
    "noop_crop_image": ["benchmarks.noop_worker", "crop_image"],
    "noop_llm": ["benchmarks.noop_worker", "llm"],
}
POLL_SECONDS = 0.05
_RECORDED = """
SELECT count(*) FROM run_tracker.workflow_run AS run
WHERE run_id = ANY($1::uuid[]) AND status = 'completed' AND $2 = (
    SELECT count(*) FROM run_tracker.node_execution AS node
    WHERE node.run_id = run.run_id AND node.status = 'success'
)
"""


def start_weft(resources: ExitStack, settings: Settings, folder: Path) -> None:
    """Start orchestrator, run tracker and two workers; return when all are ready."""
    start_services(resources, settings, SERVICES, folder=folder)


def take_turn(settings: Settings, *, runs: int, idle_runs: int) -> Turn:
    """Measure one batch, then single runs; return once the history of all of them is complete.

    Raises RunsLostError.
    """
    return uvloop.run(_take_turn(settings, runs, idle_runs))


def graph() -> WorkflowGraph:
    """Return the measured workflow: eight nodes, of which the workers execute seven."""
    picture = {"key": "sha256/0", "mediaType": "image/jpeg", "size": 1000, "width": 300, "height": 200}
    nodes = [{"id": "upload", "type": "upload_image", "params": {"asset": picture}}, _llm("join")]
    edges: list[dict[str, str]] = []
    for third in range(3):
        crop, ask = f"crop_{third}", f"ask_{third}"
        nodes += [{"id": crop, "type": "crop_image", "params": {"x": 33 * third, "width": 33}}, _llm(ask)]
        edges += [
            {"source": "upload", "target": crop, "targetHandle": "image"},
            {"source": crop, "target": ask, "targetHandle": "images"},
            {"source": ask, "target": "join", "targetHandle": "texts"},
        ]
    return read_graph({"nodes": nodes, "edges": edges})


def _llm(node_id: str) -> dict[str, object]:
    return {"id": node_id, "type": "llm", "params": {"userMessage": "What is it?"}}


class _Client:
    """Starts runs and waits for their ends."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._graph = graph()
        self._ends: dict[UUID, asyncio.Future[RunStatus]] = {}

    async def run(self, count: int) -> tuple[float, list[UUID]]:
        """Submit runs at once; return the seconds until the last of them was told finished, and their ids."""
        commands = [RunStart(run_id=uuid4(), graph=self._graph) for _ in range(count)]
        ends = {command.run_id: asyncio.get_running_loop().create_future() for command in commands}
        self._ends.update(ends)
        started = time.perf_counter()
        await self._publisher.publish_all(commands)
        statuses = await self._all(ends.values())
        seconds = time.perf_counter() - started
        if set(statuses) != {RunStatus.COMPLETED}:
            raise RunsLostError(f"Weft: runs ended as {sorted(set(statuses))}")
        return seconds, list(ends)

    async def take(self, delivery: AbstractIncomingMessage) -> None:
        """Note that a run ended."""
        event = read_event(delivery.body)
        assert isinstance(event, RunFinished)
        end = self._ends.pop(event.run_id, None)
        if end:
            end.set_result(event.status)

    async def _all(self, ends: Iterable[asyncio.Future[RunStatus]]) -> list[RunStatus]:
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.gather(*ends)
        except TimeoutError as err:
            raise RunsLostError(f"Weft: {len(self._ends)} runs had not ended after {PATIENCE:.0f} s") from err


@asynccontextmanager
async def _client(url: str) -> AsyncGenerator[_Client]:
    async with (
        open_publisher(url, app_id="benchmark", patience=PATIENCE) as publisher,
        connect(url, name="benchmark", patience=PATIENCE) as connection,
    ):
        client = _Client(publisher)
        queue = await (await connection.channel()).declare_queue(exclusive=True)
        await queue.bind(EVENTS, RunFinished.kind_name())
        await queue.consume(client.take, no_ack=True)
        yield client


async def _take_turn(settings: Settings, runs: int, idle_runs: int) -> Turn:
    async with (
        _client(settings.require("amqp_url")) as client,
        connect_database(
            settings.require("database_url"), name="benchmark", patience=PATIENCE, schema="run_tracker"
        ) as database,
    ):
        seconds, run_ids = await client.run(runs)
        history_seconds = seconds + await _wait_for_history(database, run_ids)
        singles = [await client.run(1) for _ in range(idle_runs)]
        await _wait_for_history(database, [run_id for _, ids in singles for run_id in ids])
    return Turn(Batch(runs, seconds, history_seconds), [taken for taken, _ in singles])


async def _wait_for_history(database: Database, run_ids: Sequence[UUID]) -> float:
    """Return, with the seconds it took, when all nodes of all runs are recorded as successful."""
    started = time.perf_counter()
    while (recorded := await _count_recorded(database, run_ids)) < len(run_ids):
        if time.perf_counter() - started > PATIENCE:
            raise RunsLostError(f"Weft: the history of {len(run_ids) - recorded} runs is incomplete")
        await asyncio.sleep(POLL_SECONDS)
    return time.perf_counter() - started


async def _count_recorded(database: Database, run_ids: Sequence[UUID]) -> int:
    async with database.transaction() as connection:
        return await connection.fetchval(_RECORDED, run_ids, NODES)
