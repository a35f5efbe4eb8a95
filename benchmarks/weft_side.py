"""Weft under measurement: everything on, only the bodies of the jobs do nothing."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import uvloop

from benchmarks.measures import NODES, PATIENCE, Batch, Turn
from benchmarks.processes import start_services
from benchmarks.weft_client import open_client, wait_for_history
from shared.contracts.graph import WorkflowGraph, read_graph
from shared.database import connect_database
from shared.embedded.processes import Server
from shared.settings import Settings

SERVICES: Mapping[str, Sequence[str]] = {
    "orchestrator": ["orchestrator"],
    "run_tracker": ["run_tracker"],
    "noop_crop_image": ["benchmarks.noop_worker", "crop_image"],
    "noop_llm": ["benchmarks.noop_worker", "llm"],
}


def start_weft(resources: ExitStack, settings: Settings, folder: Path) -> dict[str, Server]:
    """Start orchestrator, run tracker and two workers; return them when all are ready."""
    return start_services(resources, settings, SERVICES, folder=folder)


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


async def _take_turn(settings: Settings, runs: int, idle_runs: int) -> Turn:
    measured = graph()
    async with (
        open_client(settings.require("amqp_url")) as client,
        connect_database(
            settings.require("database_url"), name="benchmark", patience=PATIENCE, schema="run_tracker"
        ) as database,
    ):
        seconds, run_ids = await client.run(measured, runs)
        history_seconds = seconds + await wait_for_history(database, run_ids, nodes=NODES)
        singles = [await client.run(measured, 1) for _ in range(idle_runs)]
        await wait_for_history(database, [run_id for _, ids in singles for run_id in ids], nodes=NODES)
    return Turn(Batch(runs, seconds, history_seconds), [taken for taken, _ in singles])
