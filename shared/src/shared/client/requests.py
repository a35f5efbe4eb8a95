"""What is sent to the gateway and what comes back, where it is no contract of the broker."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid4

from pydantic import Field, JsonValue

from shared.contracts.base import Contract
from shared.contracts.errors import Problem
from shared.contracts.graph import WorkflowGraph
from shared.contracts.history import TimelineEntry
from shared.contracts.queries import RunView
from shared.contracts.run_options import Scope
from shared.contracts.values import AssetRef, Value, ValueType


class _StartRequest(Contract):
    # An id of the client's own: a request that is repeated on a broken line starts nothing new.
    run_id: UUID = Field(default_factory=uuid4)
    trigger_run_id: str | None = None

    def to_body(self) -> dict[str, Any]:
        """Return the request as JSON; what was not said is left to the gateway."""
        return self.model_dump(mode="json", exclude_none=True, include={*self.model_fields_set, "run_id"})


class ExecuteRequest(_StartRequest):
    """How to start a run; see `execute_workflow` in the API. `options` are those of a run, as the API names them."""

    inputs: dict[str, Value] = {}
    scope: Scope = Scope.FULL
    nodes: tuple[str, ...] = ()
    pinned: dict[str, Value] = {}
    options: dict[str, JsonValue] = {}
    tags: tuple[str, ...] = ()
    metadata: dict[str, JsonValue] = {}


class ResumeRequest(_StartRequest):
    """How to take a run up again; see `resume_run` in the API."""

    from_: Literal["failed", "start"] = Field(default="failed", validation_alias="from", serialization_alias="from")
    from_node: str | None = None
    params: dict[str, dict[str, JsonValue]] = {}
    inputs: dict[str, Value] = {}
    options: dict[str, JsonValue] = {}


class ReplayRequest(_StartRequest):
    """How the run is called that does the same again."""


class BatchRequest(Contract):
    """One run for each of `inputs`; the rest holds for all of them."""

    inputs: tuple[dict[str, Value], ...]
    options: dict[str, JsonValue] = {}
    tags: tuple[str, ...] = ()
    metadata: dict[str, JsonValue] = {}

    def to_body(self) -> dict[str, Any]:
        """Return the request as JSON."""
        return self.model_dump(mode="json", exclude_none=True, include=self.model_fields_set)


class BatchResult(Contract):
    """What became of one of the inputs: an accepted run, or what keeps it from being started."""

    run: RunView | None = None
    problems: tuple[Problem, ...] = ()


class BatchReply(Contract):
    """One result for each of the inputs, in their order."""

    results: tuple[BatchResult, ...]
    accepted: int
    refused: int


class Workflow(Contract):
    """A kept workflow; in lists without its graph."""

    id: UUID
    version: int
    name: str
    created_at: datetime
    graph: WorkflowGraph | None = None


class WorkflowPage(Contract):
    """Workflows, newest first, and the cursor of the next page, if there is one."""

    workflows: tuple[Workflow, ...]
    next_cursor: str | None = None


class Validation(Contract):
    """Everything that is wrong with a graph; nothing, where it could be kept."""

    valid: bool
    problems: tuple[Problem, ...] = ()
    graph: WorkflowGraph | None = None


class Timeline(Contract):
    """What the nodes of a run did when, attempt by attempt, in the order of the workflow."""

    run_id: UUID
    created_at: datetime | None = None
    finished_at: datetime | None = None
    entries: tuple[TimelineEntry, ...]


class Picture(Contract):
    """A picture that a node gave, with links below the gateway's address that work for 10 to 15 minutes."""

    node_id: str
    asset: AssetRef
    url: str
    thumbnail_url: str


class PictureList(Contract):
    """The pictures of a run, in the order of its nodes."""

    assets: tuple[Picture, ...]


class InputHandle(Contract):
    """An input of a node type; `multiple` ones take any number of edges."""

    name: str
    type: ValueType
    required: bool
    multiple: bool


class NodeTypeInfo(Contract):
    """A node type. `open_inputs` is the type of inputs of any name; `params` is a JSON schema."""

    name: str
    title: str
    executed_by: Literal["worker", "orchestrator"]
    inputs: tuple[InputHandle, ...]
    open_inputs: ValueType | None = None
    output: ValueType
    params: dict[str, JsonValue]


class NodeTypeList(Contract):
    """All node types that workflows can use."""

    node_types: tuple[NodeTypeInfo, ...]
