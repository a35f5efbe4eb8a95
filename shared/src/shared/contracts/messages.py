"""The messages on the broker. Commands are imperative (`run.start`), events past tense (`node.succeeded`).

Each message knows its id, which is the same whenever the same fact is told again: repeats are recognised by it.
"""

from datetime import datetime
from typing import Annotated, Literal, TypedDict
from uuid import UUID

from pydantic import Field, JsonValue, TypeAdapter

from shared.contracts.base import SCHEMA_VERSION, Contract
from shared.contracts.errors import Problem
from shared.contracts.graph import WorkflowGraph
from shared.contracts.states import NodeStatus, RunStatus
from shared.contracts.values import RecordValue, Value


class Message(Contract):
    """Base of all messages. `run_id` is the correlation id of everything that belongs to one run."""

    schema_version: int = SCHEMA_VERSION
    run_id: UUID

    @classmethod
    def kind_name(cls) -> str:
        """Return the stable name of this kind of message."""
        return cls.model_fields["kind"].default

    @property
    def message_id(self) -> str:
        """An id that is equal for every telling of the same fact."""
        return f"{self.run_id}/{self.kind_name()}"


class NodeAttempt(TypedDict):
    """Which attempt at which node of which run a message is about: what all node messages have in common."""

    run_id: UUID
    node_id: str
    node_type: str
    attempt: int


class NodeMessage(Message):
    """Base of all messages about one node; `attempt` counts from 1."""

    node_id: str
    node_type: str
    attempt: int = Field(default=1, ge=1)

    @property
    def about(self) -> NodeAttempt:
        """What this message is about, to make another one about the same."""
        return NodeAttempt(run_id=self.run_id, node_id=self.node_id, node_type=self.node_type, attempt=self.attempt)

    @property
    def message_id(self) -> str:
        """An id that is equal for every telling of the same fact about the same attempt."""
        return f"{self.run_id}/{self.node_id}/{self.attempt}/{self.kind_name()}"


class RunStart(Message):
    """Start a run of a graph.

    `run_id` is made by the sender; sending it again starts nothing new. `inputs` are the values that the graph
    asks for: by field name of a `request_inputs` node, or by id of an `upload_image` or `text` node.
    `trigger_run_id` is the caller's own name for the run.
    """

    kind: Literal["run.start"] = "run.start"
    graph: WorkflowGraph
    inputs: dict[str, Value] = {}
    workflow_id: UUID | None = None
    workflow_version: int | None = None
    trigger_run_id: str | None = None


class JobInput(Contract):
    """A value that an edge brought, and the label of the node that it came from."""

    source: str
    value: Value


class NodeExecute(NodeMessage):
    """A job: execute a node with these params and inputs (by input handle, in the order of the edges).

    No attempt follows the `last_attempt`, whatever comes of it.
    """

    kind: Literal["node.execute"] = "node.execute"
    params: dict[str, JsonValue] = {}
    inputs: dict[str, tuple[JobInput, ...]] = {}
    last_attempt: bool = False


class NodeSummary(Contract):
    """A node as it is when its run starts: sources have succeeded already."""

    node_id: str
    node_type: str
    name: str | None = None
    status: NodeStatus
    output: Value | None = None


class RunStarted(Message):
    """A run was accepted. Lists all its nodes."""

    kind: Literal["run.started"] = "run.started"
    at: datetime
    workflow_id: UUID | None = None
    workflow_version: int | None = None
    workflow_name: str | None = None
    trigger_run_id: str | None = None
    nodes: tuple[NodeSummary, ...]


class NodeQueued(NodeMessage):
    """A node's job was handed to its worker's queue."""

    kind: Literal["node.queued"] = "node.queued"
    at: datetime


class NodeStarted(NodeMessage):
    """A worker took a node's job."""

    kind: Literal["node.started"] = "node.started"
    at: datetime
    worker: str


class Usage(Contract):
    """What a model call used, as the provider tells; None where it does not tell."""

    model: str
    input_tokens: int | None = None
    output_tokens: int | None = None


class NodeSucceeded(NodeMessage):
    """A node has its output. `seconds` is how long the body of the job took."""

    kind: Literal["node.succeeded"] = "node.succeeded"
    at: datetime
    output: Value
    seconds: float | None = None
    usage: Usage | None = None


class NodeFailed(NodeMessage):
    """An attempt at a node failed.

    Where `retryable`, another attempt follows, not before `retry_after` seconds if the cause named a time; else the
    node has failed for good.
    """

    kind: Literal["node.failed"] = "node.failed"
    at: datetime
    error: Problem
    retryable: bool = False
    retry_after: float | None = None
    seconds: float | None = None


class NodeRetrying(NodeMessage):
    """An attempt failed, and another will be made at `retry_at`; `attempt` is the one that failed."""

    kind: Literal["node.retrying"] = "node.retrying"
    at: datetime
    error: Problem
    retry_at: datetime


class NodeRetry(NodeMessage):
    """Make an attempt at a node now: the orchestrator's word to itself, when the time has come."""

    kind: Literal["node.retry"] = "node.retry"
    at: datetime


class NodeSkipped(NodeMessage):
    """A node will not be executed, because what it depends on (`because_of`) failed or was skipped."""

    kind: Literal["node.skipped"] = "node.skipped"
    at: datetime
    because_of: str


class RunFinished(Message):
    """A run reached its final state.

    `nodes` holds every node's final state; `result` what the response nodes collected; `problems` why a run
    could not be started at all.
    """

    kind: Literal["run.finished"] = "run.finished"
    at: datetime
    status: RunStatus
    total_nodes: int
    successful_nodes: int
    failed_nodes: int
    skipped_nodes: int = 0
    cancelled_nodes: int = 0
    nodes: dict[str, NodeStatus] = {}
    result: RecordValue | None = None
    problems: tuple[Problem, ...] = ()


Command = Annotated[RunStart | NodeRetry, Field(discriminator="kind")]
NodeResult = Annotated[NodeSucceeded | NodeFailed, Field(discriminator="kind")]
Event = Annotated[
    RunStarted | RunFinished | NodeQueued | NodeStarted | NodeSucceeded | NodeFailed | NodeRetrying | NodeSkipped,
    Field(discriminator="kind"),
]
MESSAGES: tuple[type[Message], ...] = (
    RunStart,
    NodeExecute,
    RunStarted,
    NodeQueued,
    NodeStarted,
    NodeSucceeded,
    NodeFailed,
    NodeRetrying,
    NodeRetry,
    NodeSkipped,
    RunFinished,
)

read_command = TypeAdapter[RunStart | NodeRetry](Command).validate_json
read_job = TypeAdapter[NodeExecute](NodeExecute).validate_json
read_result = TypeAdapter[NodeSucceeded | NodeFailed](NodeResult).validate_json
read_event = TypeAdapter[
    RunStarted | RunFinished | NodeQueued | NodeStarted | NodeSucceeded | NodeFailed | NodeRetrying | NodeSkipped
](Event).validate_json
