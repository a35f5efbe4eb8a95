"""Who starts runs and waits for their ends, on the broker alone; and for their history, in the database."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

from aio_pika.abc import AbstractIncomingMessage

from benchmarks.measures import PATIENCE, RunsLostError
from shared.contracts.commands import RunStart
from shared.contracts.events import RunFinished, read_event
from shared.contracts.graph import WorkflowGraph
from shared.contracts.run_options import DEFAULT_WINDOW, MAX_IN_FLIGHT, RunOptions
from shared.contracts.states import RunStatus
from shared.database import Database
from shared.messaging.connection import connect
from shared.messaging.publisher import Publisher, open_publisher
from shared.topology import EVENTS

POLL_SECONDS = 0.05
_RECORDED = """
SELECT count(*) FROM run_tracker.workflow_run AS run
WHERE run_id = ANY($1::uuid[]) AND status = 'completed' AND $2 = (
    SELECT count(*) FROM run_tracker.node_execution AS node
    WHERE node.run_id = run.run_id AND node.status = 'success'
)
"""


class WeftClient:
    """Starts runs of workflows and waits for their ends; `patience` is in seconds, for all runs of a call."""

    def __init__(self, publisher: Publisher, *, patience: float) -> None:
        self._publisher = publisher
        self._patience = patience
        self._ends: dict[UUID, asyncio.Future[RunStatus]] = {}

    async def run(self, graph: WorkflowGraph, count: int, *, window: int | None = None) -> tuple[float, list[UUID]]:
        """Submit runs at once; return the seconds until the last of them was told finished, and their ids.

        `window` is how many nodes of each may be in flight, if not the default.
        """
        started = time.perf_counter()
        ends = await self.submit(graph, count, window=window)
        statuses = await self._all(ends.values())
        seconds = time.perf_counter() - started
        if set(statuses) != {RunStatus.COMPLETED}:
            raise RunsLostError(f"Weft: runs ended as {sorted(set(statuses))}")
        return seconds, list(ends)

    async def submit(
        self, graph: WorkflowGraph, count: int, *, window: int | None = None
    ) -> dict[UUID, asyncio.Future[RunStatus]]:
        """Start runs; return how each will end, by its id."""
        # Nothing is reused: equal crops of one run after the other would cost nothing.
        options = RunOptions(use_cache=False, max_in_flight=MAX_IN_FLIGHT, window=window or DEFAULT_WINDOW)
        commands = [RunStart(run_id=uuid4(), graph=graph, options=options) for _ in range(count)]
        ends = {command.run_id: asyncio.get_running_loop().create_future() for command in commands}
        self._ends.update(ends)
        await self._publisher.publish_all(commands)
        return ends

    async def take(self, delivery: AbstractIncomingMessage) -> None:
        """Note that a run ended."""
        event = read_event(delivery.body)
        assert isinstance(event, RunFinished)
        end = self._ends.pop(event.run_id, None)
        if end:
            end.set_result(event.status)

    async def _all(self, ends: Iterable[asyncio.Future[RunStatus]]) -> list[RunStatus]:
        try:
            async with asyncio.timeout(self._patience):
                return await asyncio.gather(*ends)
        except TimeoutError as err:
            raise RunsLostError(f"Weft: {len(self._ends)} runs had not ended after {self._patience:.0f} s") from err


@asynccontextmanager
async def open_client(url: str, *, patience: float = PATIENCE) -> AsyncGenerator[WeftClient]:
    """Yield a client, which hears of the ends of all runs from now on."""
    async with (
        open_publisher(url, app_id="benchmark", patience=patience) as publisher,
        connect(url, name="benchmark", patience=patience) as connection,
    ):
        client = WeftClient(publisher, patience=patience)
        queue = await (await connection.channel()).declare_queue(exclusive=True)
        await queue.bind(EVENTS, RunFinished.kind_name())
        await queue.consume(client.take, no_ack=True)
        yield client


async def wait_for_history(database: Database, run_ids: Sequence[UUID], *, nodes: int) -> float:
    """Return, with the seconds it took, when all `nodes` of all runs are recorded as successful."""
    started = time.perf_counter()
    while (recorded := await _count_recorded(database, run_ids, nodes)) < len(run_ids):
        if time.perf_counter() - started > PATIENCE:
            raise RunsLostError(f"Weft: the history of {len(run_ids) - recorded} runs is incomplete")
        await asyncio.sleep(POLL_SECONDS)
    return time.perf_counter() - started


async def _count_recorded(database: Database, run_ids: Sequence[UUID], nodes: int) -> int:
    async with database.transaction() as connection:
        return await connection.fetchval(_RECORDED, run_ids, nodes)
