"""Load: runs are started by AMQP as any client would, so many at a time, and followed to their ends in the tables."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

from tests.chaos.graphs import DIAMOND
from tests.chaos.waiting import eventually

from shared.contracts.commands import RunStart
from shared.contracts.errors import UnavailableError
from shared.contracts.graph import WorkflowGraph
from shared.contracts.run_options import DEFAULT_WINDOW, MAX_IN_FLIGHT, RunOptions
from shared.database import Database
from shared.messaging.publisher import Publisher

PACE_SECONDS = 0.1  # between looks at what has ended
RETRY_SECONDS = 0.2
SETTLING_SECONDS = 60.0
_ENDED = "SELECT run_id FROM run_tracker.workflow_run WHERE run_id = ANY($1::uuid[]) AND finished_at IS NOT NULL"


class Load:
    """Keeps `width` runs under way. `accepted` holds the runs whose start the broker has confirmed."""

    def __init__(self, publisher: Publisher, database: Database, *, width: int, graph: WorkflowGraph = DIAMOND) -> None:
        self._publisher, self._database = publisher, database
        self._width, self._graph = width, graph
        self._options = RunOptions(max_in_flight=MAX_IN_FLIGHT, window=max(DEFAULT_WINDOW, len(graph.nodes)))
        self._under_way: set[UUID] = set()
        self.accepted: list[RunStart] = []

    @property
    def ended(self) -> int:
        """How many runs have ended."""
        return len(self.accepted) - len(self._under_way)

    @asynccontextmanager
    async def applied(self, *, within: float = SETTLING_SECONDS) -> AsyncGenerator[None]:
        """Apply the load; on leaving, no more runs are started, and all have ended `within` so many seconds."""
        stopping = asyncio.Event()
        loading = asyncio.create_task(self._load(stopping))
        try:
            yield
        finally:
            stopping.set()
            await loading
        self.settling_seconds = await eventually("all runs have ended", self._all_ended, within=within)

    async def reach(self, count: int, *, within: float) -> None:
        """Return when so many runs have ended."""

        async def reached() -> bool:
            return self.ended >= count

        await eventually(f"{count} runs have ended", reached, within=within)

    async def start(self, count: int) -> list[RunStart]:
        """Start so many runs at once; return when the broker has confirmed all of them."""
        commands = [RunStart(run_id=uuid4(), graph=self._graph, options=self._options) for _ in range(count)]
        await asyncio.gather(*map(self._start, commands))
        return commands

    async def _start(self, command: RunStart) -> None:
        while True:
            try:
                await self._publisher.publish(command)
            except UnavailableError:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._under_way.add(command.run_id)
                self.accepted.append(command)
                return

    async def _load(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await self.start(self._width - len(self._under_way))
            await asyncio.sleep(PACE_SECONDS)
            try:
                await self._all_ended()
            except UnavailableError:
                await asyncio.sleep(RETRY_SECONDS)

    async def _all_ended(self) -> bool:
        async with self._database.transaction() as connection:
            rows = await connection.fetch(_ENDED, list(self._under_way))
        self._under_way -= {row["run_id"] for row in rows}
        return not self._under_way
