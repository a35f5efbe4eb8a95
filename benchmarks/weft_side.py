"""Weft under measurement: everything on, only the bodies of the jobs do nothing."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack
from importlib.metadata import version
from pathlib import Path

import uvloop

from benchmarks.measures import PATIENCE, Batch
from benchmarks.processes import start_services
from benchmarks.shapes import PICTURE, QUESTION, Kind, Shape
from benchmarks.sides import RunningSide, Servers
from benchmarks.weft_client import WeftClient, open_client, wait_for_history
from shared.contracts.graph import WorkflowGraph, read_graph
from shared.contracts.run_options import MAX_IN_FLIGHT
from shared.database import Database, connect_database
from shared.settings import Settings
from shared.worker.backlog import MARGIN

SERVICES: Mapping[str, Sequence[str]] = {"orchestrator": ["orchestrator"], "run_tracker": ["run_tracker"]}
WORKERS: Mapping[str, Sequence[str]] = {
    "noop_crop_image": ["benchmarks.noop_worker", "crop_image"],
    "noop_llm": ["benchmarks.noop_worker", "llm"],
}
PACKAGES = ("aio-pika", "faststream", "asyncpg")
_TYPES: Mapping[Kind, str] = {"upload": "upload_image", "crop": "crop_image", "ask": "llm", "join": "llm"}
_PICTURES: frozenset[Kind] = frozenset({"upload", "crop"})  # what gives pictures


class WeftSide:
    """Orchestrator, run tracker and two workers; or other processes, where they are named."""

    name = "Weft"
    divisor = 1

    def __init__(self, services: Mapping[str, Sequence[str]] | None = None) -> None:
        self._services = services or {**SERVICES, **WORKERS}

    def can(self, shape: Shape) -> bool:  # noqa: ARG002 - Side's form
        """Tell that it does all shapes."""
        return True

    def prepare(self) -> None:
        """Do nothing: all is there."""

    def start(self, resources: ExitStack, servers: Servers, folder: Path) -> RunningSide:
        """Start the services; return when all are ready, and take jobs as they do most of the time."""
        start_settled(resources, servers.settings, self._services, folder)
        runner = resources.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        connections = AsyncExitStack()
        client = runner.run(connections.enter_async_context(open_client(servers.settings.require("amqp_url"))))
        database = runner.run(connections.enter_async_context(open_history(servers.settings)))
        resources.callback(lambda: runner.run(connections.aclose()))
        return RunningWeft(runner, client, database)


class RunningWeft:
    """Weft, started, with a client."""

    def __init__(self, runner: asyncio.Runner, client: WeftClient, database: Database) -> None:
        self._runner = runner
        self._client = client
        self._database = database
        self.versions: Mapping[str, str] = {name: version(name) for name in PACKAGES}

    def batch(self, shape: Shape, runs: int) -> Batch:
        """Submit runs at once; return when all have ended, and their history is complete. Raises RunsLostError."""
        return self._runner.run(self._batch(shape, runs))

    async def _batch(self, shape: Shape, runs: int) -> Batch:
        # A single large run is to have as many nodes in flight as many small ones have together.
        window = MAX_IN_FLIGHT if shape.name == "wide" else None
        seconds, run_ids = await self._client.run(graph(shape), runs, window=window)
        more = await wait_for_history(self._database, run_ids, nodes=len(shape.nodes))
        return Batch(seconds, seconds + more)


def start_settled(
    resources: ExitStack, settings: Settings, services: Mapping[str, Sequence[str]], folder: Path
) -> None:
    """Start services; return when they take jobs as they do most of the time.

    For a while after their start, workers ask of each job whether it is still waited for: it may be older than they.
    """
    start_services(resources, settings, services, folder=folder)
    time.sleep(MARGIN.total_seconds())


def open_history(settings: Settings) -> AbstractAsyncContextManager[Database]:
    """Return the database, to look at the history."""
    return connect_database(settings.require("database_url"), name="benchmark", patience=PATIENCE, schema="run_tracker")


def graph(shape: Shape, picture: Mapping[str, object] = PICTURE, *, model: str | None = None) -> WorkflowGraph:
    """Return a shape as a workflow of that picture, whose questions go to `model`, if it is named."""
    nodes = [_node(number, node.kind, picture, model) for number, node in enumerate(shape.nodes)]
    edges = [
        {"source": str(source), "target": str(number), "targetHandle": _handle(shape.nodes[source].kind, node.kind)}
        for number, node in enumerate(shape.nodes)
        for source in node.after
    ]
    return read_graph({"nodes": nodes, "edges": edges})


def _node(number: int, kind: Kind, picture: Mapping[str, object], model: str | None) -> dict[str, object]:
    params: Mapping[Kind, Mapping[str, object]] = {
        "upload": {"asset": picture},
        "crop": {"x": 33 * (number % 3), "width": 33},
    }
    question = {"userMessage": QUESTION, **({"model": model} if model else {})}
    return {"id": str(number), "type": _TYPES[kind], "params": params.get(kind, question)}


def _handle(source: Kind, target: Kind) -> str:
    if target == "crop":
        return "image"
    return "images" if source in _PICTURES else "texts"
