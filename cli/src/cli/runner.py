"""Starts runs, from workflow files and from earlier runs, and follows them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from cli.client import connect
from cli.edits import Edits, typed
from cli.follow import Follower, OnChange
from cli.inputs import Inputs, find_supply_problems, read_options
from cli.pins import read_pins
from cli.workflow_file import read_workflow, workflow_id
from shared import client
from shared.client import AsyncClient
from shared.contracts.errors import InvalidInputError, Problem
from shared.contracts.graph import WorkflowGraph
from shared.contracts.queries import RunView
from shared.contracts.run_options import Scope
from shared.contracts.scopes import Selection
from shared.contracts.values import ImageValue, Value

Options = Mapping[str, Any]  # as the gateway takes them; what is left out stays as it is
Begin = Callable[[AsyncClient], Awaitable[RunView]]  # starts a run, and returns it as it was accepted


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A workflow, its inputs, which of its nodes to execute (all, if none is named) and what is pinned: all sound."""

    graph: WorkflowGraph
    inputs: Inputs
    nodes: tuple[str, ...] = ()
    pins: Inputs = field(default_factory=lambda: Inputs({}, {}))
    options: Options = field(default_factory=dict[str, Any])
    trigger_id: str | None = None

    @classmethod
    def read(
        cls,
        file: Path,
        *,
        images: Sequence[str] = (),
        texts: Sequence[str] = (),
        nodes: Sequence[str] = (),
        pins: Sequence[str] = (),
        options: Options | None = None,
        trigger_id: str | None = None,
    ) -> "RunRequest":
        """Read the workflow file and what the options supply; raise InvalidInputError with every problem."""
        graph, nodes = read_workflow(file), tuple(dict.fromkeys(nodes))
        problems: list[Problem] = []
        supplied = read_options(images, texts, problems)
        pinned = read_pins(graph, pins, problems)
        selection = Selection(scope_of(nodes), nodes, pinned.placeholders)
        problems += find_supply_problems(graph, supplied.placeholders, selection)
        inputs, outputs = supplied.load(problems), pinned.load(problems)
        if problems:
            raise InvalidInputError(*problems)
        return cls(graph, inputs, nodes, outputs, options or {}, trigger_id)

    async def begin(self, gateway: AsyncClient) -> RunView:
        """Upload the pictures, keep the workflow, start a run; return it as it was accepted."""
        identity = workflow_id(self.graph)
        inputs, pinned = await _upload(gateway, self.inputs), await _upload(gateway, self.pins)
        await gateway.save_workflow(as_json(self.graph), workflow_id=identity, name=self.graph.name)
        request = client.ExecuteRequest(
            trigger_run_id=self.trigger_id,
            scope=scope_of(self.nodes),
            nodes=self.nodes,
            inputs=inputs,
            pinned=pinned,
            options=dict(self.options),
        )
        return await gateway.execute(identity, request)


@dataclass(frozen=True, slots=True)
class ResumeRequest:
    """A run that has ended, and how to take it up: at its start, or at what did not succeed and perhaps a node."""

    run_id: UUID
    from_start: bool = False
    from_node: str | None = None
    edits: Edits = field(default_factory=dict[str, dict[str, str]])
    inputs: Inputs = field(default_factory=lambda: Inputs({}, {}))
    options: Options = field(default_factory=dict[str, Any])
    trigger_id: str | None = None

    async def begin(self, gateway: AsyncClient) -> RunView:
        """Upload the pictures, take the run up in a new one; return that as it was accepted."""
        request = client.ResumeRequest(
            trigger_run_id=self.trigger_id,
            from_="start" if self.from_start else "failed",
            from_node=self.from_node,
            params=typed(self.edits, await self._node_types(gateway)),
            inputs=await _upload(gateway, self.inputs),
            options=dict(self.options),
        )
        return await gateway.resume(self.run_id, request)

    async def _node_types(self, gateway: AsyncClient) -> dict[str, str]:
        nodes = (await gateway.run(self.run_id)).nodes if self.edits else ()
        return {node.node_id: node.node_type for node in nodes or () if node.node_type}


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """A run to do again."""

    run_id: UUID
    trigger_id: str | None = None

    async def begin(self, gateway: AsyncClient) -> RunView:
        """Start a new run that does the same; return it as it was accepted."""
        return await gateway.replay(self.run_id, trigger_run_id=self.trigger_id)


async def execute(
    url: str, begin: Begin, on_change: OnChange, *, patience: float | None, draws: bool = False
) -> RunView:
    """Start a run and follow it to its end, raising as `Follower.until_end` does; `draws`: its graph is wanted."""
    async with connect(url) as gateway:
        follower = Follower(gateway, await begin(gateway), on_change)
        learning = asyncio.create_task(follower.learn_graph()) if draws else None
        try:
            return await follower.until_end(patience)
        finally:
            if learning:
                learning.cancel()


async def start_only(url: str, begin: Begin) -> UUID:
    """Start a run, and return its id."""
    async with connect(url) as gateway:
        return (await begin(gateway)).run_id


def scope_of(nodes: Sequence[str]) -> Scope:
    """Return the scope of a run that executes only these nodes; all, where none is named."""
    if not nodes:
        return Scope.FULL
    return Scope.SINGLE if len(nodes) == 1 else Scope.SELECTED


def as_json(graph: WorkflowGraph) -> dict[str, Any]:
    """Return a graph as JSON holds it."""
    return graph.model_dump(mode="json", exclude_none=True)


async def _upload(gateway: AsyncClient, inputs: Inputs) -> dict[str, Value]:
    pictures = inputs.pictures.values()
    assets = await asyncio.gather(*(gateway.upload(item.data, item.media_type) for item in pictures))
    values: dict[str, Value] = {
        name: ImageValue(asset=asset) for name, asset in zip(inputs.pictures, assets, strict=True)
    }
    return {**inputs.values, **values}
