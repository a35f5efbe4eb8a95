"""What goes in and out of the HTTP API, where it is not a contract shared with others."""

from collections.abc import Iterator
from datetime import datetime
from math import isfinite
from typing import Any, Literal, cast
from uuid import UUID

from pydantic import Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from shared.contracts.base import Contract
from shared.contracts.graph import WorkflowGraph
from shared.contracts.queries import RunView
from shared.contracts.values import AssetRef, Value, ValueType


def _leaves(raw: Any) -> Iterator[object]:
    """Yield all keys and plain values of parsed JSON."""
    remaining: list[object] = [raw]
    while remaining:
        item = remaining.pop()
        if isinstance(item, dict):
            remaining += [part for pair in cast("dict[str, object]", item).items() for part in pair]
        elif isinstance(item, list):
            remaining += cast("list[object]", item)
        else:
            yield item


def _is_storable(leaf: object) -> bool:
    """Tell whether JSON and PostgreSQL can both express it: no NUL, no half of a surrogate pair, no infinity."""
    if isinstance(leaf, str):
        return "\0" not in leaf and not any("\ud800" <= character <= "\udfff" for character in leaf)
    return not isinstance(leaf, float) or isfinite(leaf)


class RequestBody(Contract):
    """Base of request bodies: whatever they hold can be stored and sent on."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unstorable(cls, raw: Any) -> Any:
        if not all(map(_is_storable, _leaves(raw))):
            raise PydanticCustomError("unstorable", "texts must be valid Unicode without NUL, and numbers finite")
        return raw


class WorkflowDraft(RequestBody):
    """A workflow to keep. With an `id`, keeping it again changes nothing; old graphs are brought to today's names."""

    id: UUID | None = None
    name: str | None = Field(default=None, min_length=1, max_length=200)
    graph: dict[str, JsonValue] = Field(description="nodes and edges, as React Flow saves them")


class ExecuteRequest(RequestBody):
    """How to start a run. The same `runId` again starts nothing new; `triggerRunId` is the caller's own name for it."""

    inputs: dict[str, Value] = {}
    run_id: UUID | None = None
    trigger_run_id: str | None = Field(default=None, max_length=200)


class WorkflowSummary(Contract):
    """A kept workflow without its graph. Versions count from 1; times are UTC."""

    id: UUID
    version: int
    name: str
    created_at: datetime


class WorkflowView(WorkflowSummary):
    """A kept workflow."""

    graph: WorkflowGraph


class WorkflowList(Contract):
    """The latest version of each workflow, newest first."""

    workflows: tuple[WorkflowSummary, ...]


class RunList(Contract):
    """Runs without their nodes, newest first."""

    runs: tuple[RunView, ...]


class UploadView(Contract):
    """An uploaded picture; the same bytes always get the same reference."""

    asset: AssetRef


class InputHandleView(Contract):
    """An input handle; `multiple` ones take any number of edges."""

    name: str
    type: ValueType
    required: bool
    multiple: bool


class NodeTypeView(Contract):
    """A node type. `openInputs` is the type of input handles of any name; `params` is a JSON schema."""

    name: str
    title: str
    executed_by: Literal["worker", "orchestrator"]
    inputs: tuple[InputHandleView, ...]
    open_inputs: ValueType | None = None
    output: ValueType
    params: dict[str, JsonValue]


class NodeTypeList(Contract):
    """All node types that workflows can use."""

    node_types: tuple[NodeTypeView, ...]
