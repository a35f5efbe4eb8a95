"""Starts a run from a workflow file, and follows it."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from cli.client import Gateway
from cli.follow import Follower, OnChange
from cli.inputs import Inputs, read_inputs
from cli.workflow_file import read_workflow, workflow_id
from shared.contracts.graph import WorkflowGraph
from shared.contracts.queries import RunView
from shared.contracts.values import ImageValue, Value


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A workflow and its inputs, both found sound."""

    graph: WorkflowGraph
    inputs: Inputs

    @classmethod
    def read(cls, file: Path, images: list[str], texts: list[str]) -> "RunRequest":
        """Read the workflow file and the inputs; raise InvalidInputError with every problem."""
        graph = read_workflow(file)
        return cls(graph, read_inputs(graph, images, texts))


async def start(gateway: Gateway, request: RunRequest) -> RunView:
    """Upload the pictures, keep the workflow, start a run; return it as it was accepted."""
    identity, graph = workflow_id(request.graph), request.graph
    inputs = await _upload(gateway, request.inputs)
    await gateway.save_workflow(identity, graph.name or "", graph)
    return await gateway.execute(identity, inputs, run_id=uuid4())


async def execute(url: str, request: RunRequest, on_change: OnChange, *, patience: float | None) -> RunView:
    """Start a run and follow it to its end; see `Follower.until_end` for what is raised."""
    async with Gateway(url) as gateway:
        accepted = await start(gateway, request)
        return await Follower(gateway, accepted, on_change).until_end(patience)


async def start_only(url: str, request: RunRequest) -> UUID:
    """Start a run, and return its id."""
    async with Gateway(url) as gateway:
        return (await start(gateway, request)).run_id


async def _upload(gateway: Gateway, inputs: Inputs) -> dict[str, Value]:
    pictures = inputs.pictures.values()
    assets = await asyncio.gather(*(gateway.upload(item.data, item.media_type) for item in pictures))
    values: dict[str, Value] = {
        name: ImageValue(asset=asset) for name, asset in zip(inputs.pictures, assets, strict=True)
    }
    return {**inputs.texts, **values}
