"""What goes in and out of the HTTP API, where it is not a contract shared with others."""

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from math import isfinite
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from pydantic import ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from shared.contracts.base import Contract
from shared.contracts.cursors import MAX_CURSOR_LENGTH, Moment
from shared.contracts.errors import Problem
from shared.contracts.graph import WorkflowGraph
from shared.contracts.history import MAX_PAGE, RunFilter, TimelineEntry
from shared.contracts.labels import Metadata, Tags
from shared.contracts.nesting import is_too_deep, too_deep
from shared.contracts.queries import RunView
from shared.contracts.run_options import RunOptions, Scope
from shared.contracts.values import Value, ValueType

MAX_TRIGGER_LENGTH = 200
MAX_BATCH = 1_000  # runs

WorkflowName = Annotated[str, Field(min_length=1, max_length=200)]
RawGraph = Annotated[dict[str, JsonValue], Field(description="nodes and edges, as React Flow saves them")]


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
    """Base of request bodies: whatever they hold can be stored, sent on, and read there."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unstorable(cls, raw: Any) -> Any:
        if is_too_deep(raw):
            raise too_deep()
        if not all(map(_is_storable, _leaves(raw))):
            raise PydanticCustomError("unstorable", "texts must be valid Unicode without NUL, and numbers finite")
        return raw


class WorkflowDraft(RequestBody):
    """A workflow to keep. With an `id`, keeping it again changes nothing; old graphs are brought to today's names."""

    id: UUID | None = None
    name: WorkflowName | None = None
    graph: RawGraph


class WorkflowUpdate(RequestBody):
    """The next version of a workflow.

    Where `version` is given, it must be the latest one before: a change that somebody else made meanwhile is then not
    lost. The same name and graph as the latest version make no new one.
    """

    name: WorkflowName | None = None
    graph: RawGraph
    version: int | None = Field(default=None, ge=1, description="the latest version, as far as you know")


class ImportedWorkflow(RequestBody):
    """A file with a workflow: `nodes` and `edges`, and a `name` if it has one; what else it holds is ignored."""

    model_config = ConfigDict(extra="allow")

    name: WorkflowName | None = None
    nodes: list[JsonValue]
    edges: list[JsonValue] = []


class GraphToCheck(RequestBody):
    """A graph that is only looked at."""

    graph: RawGraph


class Validation(Contract):
    """Everything that is wrong with a graph. Where nothing is, `graph` is what would be kept."""

    valid: bool
    problems: tuple[Problem, ...] = ()
    graph: WorkflowGraph | None = None


class StartRequest(RequestBody):
    """What the run is called that is to be started.

    The same again under the same `runId` or `triggerRunId` (the caller's own name) starts nothing new.
    """

    run_id: UUID | None = None
    trigger_run_id: str | None = Field(default=None, min_length=1, max_length=MAX_TRIGGER_LENGTH)


class ExecuteRequest(StartRequest):
    """How to start a run.

    Where `scope` is `selected` or `single`, only `nodes` are executed; what they need of others is, in this order, what
    is `pinned`, what sources hold now, the newest output in any run of the workflow. A node with a pinned output is not
    executed, whatever the scope.
    """

    inputs: dict[str, Value] = {}
    scope: Scope = Scope.FULL
    nodes: tuple[str, ...] = Field(default=(), description="ids of the nodes to execute, unless the scope is full")
    pinned: dict[str, Value] = Field(default={}, description="outputs by node id")
    options: RunOptions = RunOptions()
    tags: Tags = ()
    metadata: Metadata = {}


class BatchRequest(RequestBody):
    """One run of all nodes for each of `inputs`; the rest holds for all of them."""

    inputs: tuple[dict[str, Value], ...] = Field(min_length=1, max_length=MAX_BATCH)
    options: RunOptions = RunOptions()
    tags: Tags = ()
    metadata: Metadata = {}


class BatchResult(Contract):
    """What became of one of the inputs: the accepted run, or what keeps it from being started."""

    run: RunView | None = None
    problems: tuple[Problem, ...] = ()


class BatchReply(Contract):
    """One result for each of the inputs, in their order."""

    results: tuple[BatchResult, ...]
    accepted: int
    refused: int


class ResumeFrom(StrEnum):
    """Where a run is taken up: at what did not succeed, or at its start."""

    FAILED = "failed"
    START = "start"


class ResumeRequest(StartRequest):
    """How to take a run up in a new one. What succeeded is reused, unless it depends on what is executed again.

    Executed again is what did not succeed, or everything (`from`); `fromNode`; each node with other `params` than
    before; each source with other `inputs`; and whatever depends on any of these. Of `options`, those that are left out
    stay as they were; with `useCache` false, no output of another run is taken for equal input either.
    """

    from_: ResumeFrom = Field(default=ResumeFrom.FAILED, alias="from")
    from_node: str | None = Field(default=None, description="id of a node to execute again in any case")
    params: dict[str, dict[str, JsonValue]] = Field(default={}, description="by node id, then by name")
    inputs: dict[str, Value] = {}
    options: RunOptions = RunOptions()


class CancelRequest(RequestBody):
    """Why a run is cancelled, for the record."""

    reason: str | None = Field(default=None, max_length=1_000)


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
    """The latest version of each workflow, newest first; `nextCursor` is where the list goes on, if it does."""

    workflows: tuple[WorkflowSummary, ...]
    next_cursor: str | None = None


class RunListQuery(RunFilter):
    """Which runs to list, and which page of them."""

    limit: int = Field(default=50, ge=1, le=MAX_PAGE, description="how many at most")
    cursor: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_CURSOR_LENGTH,
        description="`nextCursor` of the page before, with the same filters",
    )


class TimelineView(Contract):
    """What the nodes of a run did when, attempt by attempt, in the order of the workflow."""

    run_id: UUID
    created_at: datetime | None = None
    finished_at: datetime | None = None
    entries: tuple[TimelineEntry, ...]


class StatisticsQuery(Contract):
    """Of which runs to tell how they went: those created from `since` on and before `until`; else the last 30 days."""

    since: Moment | None = None
    until: Moment | None = None


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
