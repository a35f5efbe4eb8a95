"""The system under test, with everything that a fault test needs to load it, to disturb it, and to judge it."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import httpx2
from tests.chaos.clean import Clean
from tests.chaos.fleet import MODEL, Fleet
from tests.chaos.load import Load
from tests.chaos.recorder import Recorder
from tests.chaos.servers import Servers
from tests.chaos.waiting import eventually

from shared.contracts.commands import RunStart
from shared.contracts.graph import WorkflowGraph
from shared.contracts.states import RunStatus
from shared.database import Database, connect_database
from shared.messaging.publisher import Publisher, open_publisher
from shared.settings import Settings
from shared.topology import COMMANDS_QUEUE, DEAD_JOBS_QUEUE, HISTORY_QUEUE, QUEUES, RESULTS_QUEUE

CONSUMED = (COMMANDS_QUEUE, RESULTS_QUEUE, DEAD_JOBS_QUEUE, HISTORY_QUEUE, "jobs.llm", "jobs.llm.high", "jobs.llm.low")
BACK_SECONDS = 30.0  # in which all consumers must be back
PATIENCE = 30.0
EXECUTIONS = "weft_node_seconds_count"  # the metric of workers that counts the jobs they executed


class System:
    """Servers, services, and a client's connections to both servers."""

    def __init__(
        self, servers: Servers, fleet: Fleet, publisher: Publisher, database: Database, recorder: Recorder
    ) -> None:
        self.servers, self.fleet = servers, fleet
        self.publisher, self.database, self.recorder = publisher, database, recorder

    @property
    def settings(self) -> Settings:
        return self.servers.settings

    def load(self, *, width: int, graph: WorkflowGraph | None = None) -> Load:
        """Return a load that keeps so many runs under way."""
        load = Load(self.publisher, self.database, width=width)
        return load if graph is None else Load(self.publisher, self.database, width=width, graph=graph)

    async def check_clean(
        self,
        commands: Sequence[RunStart],
        *,
        expected: Mapping[UUID, RunStatus] | None = None,
        dead_letters: Mapping[str, int] | None = None,
    ) -> None:
        """Assert that everything is clean, as `tests.chaos.clean` says it."""
        await Clean(self.database, commands, expected).check(self.recorder, dead_letters)

    async def wait_for_consumers(self) -> float:
        """Return, with the seconds it took, when all queues are consumed that the services use."""
        return await eventually("all consumers are back", self._all_consumed, within=BACK_SECONDS)

    async def _all_consumed(self) -> bool:
        async with self.recorder.channel() as channel:
            declared = [await channel.declare_queue(name, passive=True) for name in CONSUMED]
        return all(queue.declaration_result.consumer_count for queue in declared)

    async def model_calls(self, *, held: int = 0) -> int:
        """Return how often the model stand-in was called since it started, once so many of the calls are held."""
        async with httpx2.AsyncClient(base_url=self.fleet.url(MODEL), timeout=2 * PATIENCE) as http:
            calls = (await http.get("/control/calls", params={"held": held, "timeout": PATIENCE})).json()
        assert calls["reached"], f"{held} calls of the model were expected to wait: {calls}"
        return calls["made"]

    async def hold_model_calls(self, times: int) -> None:
        """Let the next calls of the model wait until they are released."""
        await self.script_model([{"kind": "hold", "times": times}])

    async def script_model(self, behaviours: Sequence[Mapping[str, str | int]]) -> None:
        """Let the next calls of the model be answered like this, in order."""
        async with httpx2.AsyncClient(base_url=self.fleet.url(MODEL)) as http:
            (await http.post("/control/behaviours", json=behaviours)).raise_for_status()

    async def release_model_calls(self) -> None:
        """Let the calls of the model that wait go on."""
        async with httpx2.AsyncClient(base_url=self.fleet.url(MODEL)) as http:
            (await http.post("/control/release")).raise_for_status()

    async def metric(self, service: str, name: str) -> float:
        """Return the sum of a counter, over all its labels, of the service's latest process."""
        async with httpx2.AsyncClient(base_url=self.fleet.url(service), timeout=PATIENCE) as http:
            lines = (await http.get("/metrics")).text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))

    async def purge(self) -> None:
        """Empty all queues of what an earlier test left in them."""
        async with self.recorder.channel() as channel:
            for queue in QUEUES:
                await (await channel.declare_queue(queue.name, passive=True)).purge()


@asynccontextmanager
async def running_system(servers: Servers, fleet: Fleet) -> AsyncGenerator[System]:
    """Yield a system without services, its queues empty."""
    amqp_url, database_url = servers.settings.require("amqp_url"), servers.settings.require("database_url")
    recorder = Recorder(amqp_url)
    async with (
        open_publisher(amqp_url, app_id="chaos", patience=PATIENCE) as publisher,
        connect_database(database_url, name="chaos", patience=PATIENCE, schema="run_tracker") as database,
    ):
        system = System(servers, fleet, publisher, database, recorder)
        await recorder.start()
        yield system
        await recorder.stop()


async def in_thread(call, *arguments):
    """Do something that blocks, while the load goes on."""
    return await asyncio.to_thread(call, *arguments)
