"""The events on the broker, past tense by name (`run.started`): what has become of runs and nodes."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, TypeAdapter

from shared.contracts.base import QUIET, Contract
from shared.contracts.commands import NodeExpire, RunStart
from shared.contracts.envelope import Message, NodeMessage
from shared.contracts.errors import Problem
from shared.contracts.states import NodeStatus, RunStatus
from shared.contracts.values import RecordValue, Value


class NodeSummary(Contract):
    """A node as it is when its run starts: sources have succeeded already, and the first jobs are queued."""

    node_id: str
    node_type: str
    name: str | None = None
    status: NodeStatus
    output: Value | None = None
    cached: bool = False
    queued_at: datetime | None = None


class _RunTaken(Message):
    """What is told of a run that was accepted: how it was asked for, and all its nodes."""

    at: datetime
    workflow_id: UUID | None = None
    workflow_version: int | None = None
    workflow_name: str | None = None
    trigger_run_id: str | None = None
    resumed_from: UUID | None = None
    command: RunStart | None = None
    nodes: tuple[NodeSummary, ...]


class RunQueued(_RunTaken):
    """A run was accepted, and waits for other runs with its concurrency key to end."""

    kind: Literal["run.queued"] = "run.queued"


class RunStarted(_RunTaken):
    """A run began."""

    kind: Literal["run.started"] = "run.started"


class RunRejected(Message):
    """A start was refused, because its run id or its `triggerRunId` belongs to another run, which goes on.

    `existing_run_id` is that run: of the same content (`already_started`) or of another (`run_conflict`,
    `trigger_conflict`).
    """

    kind: Literal["run.rejected"] = "run.rejected"
    at: datetime
    existing_run_id: UUID
    problem: Problem

    @property
    def message_id(self) -> str:
        """An id that tells conflicts of one run apart by their kind."""
        return f"{self.run_id}/{self.kind}/{self.problem.code}"


class RunFinished(Message):
    """A run reached its final state.

    `nodes` holds every node's final state; `result` what the response nodes collected; `problems` why a run
    could not be started at all. `cached_nodes` of the successful ones reused an earlier output. `cost` is in US
    dollars, as far as it is known.
    """

    kind: Literal["run.finished"] = "run.finished"
    at: datetime
    status: RunStatus
    total_nodes: int
    successful_nodes: int
    failed_nodes: int
    skipped_nodes: int = 0
    cancelled_nodes: int = 0
    cached_nodes: int = 0
    tokens: int = 0
    cost: float = 0.0
    nodes: dict[str, NodeStatus] = {}
    result: RecordValue | None = None
    problems: tuple[Problem, ...] = ()


class NodeQueued(NodeMessage):
    """A node's job has waited in its worker's queue for a moment.

    Of the jobs that a run begins with, `run.started` tells; of one that is over sooner, its result.
    """

    kind: Literal["node.queued"] = "node.queued"
    at: datetime


class NodeStarted(NodeMessage):
    """A worker has had a node's job for a moment; of a job that is over sooner, its result tells the same."""

    kind: Literal["node.started"] = "node.started"
    at: datetime
    worker: str


class NodeLasting(NodeMessage):
    """An attempt takes a while: it has been with a worker since `started_at`, and from then on its timeout counts."""

    kind: Literal["node.lasting"] = "node.lasting"
    at: datetime
    started_at: datetime

    @property
    def message_id(self) -> str:
        """An id that tells the workers apart that had the attempt, one after the other."""
        return f"{super().message_id}/{self.started_at.timestamp():.3f}"


class NodeProgress(NodeMessage):
    """How far an attempt has come: the next piece of its text, or the share of its work that is done (0 to 1).

    For those who watch: it is kept nowhere and may be lost, and the result holds all. `sequence` counts from 1 within
    the attempt; `offset` is the number of characters of text before this piece.
    """

    kind: Literal["node.progress"] = "node.progress"
    at: datetime
    sequence: int = Field(ge=1)
    text: str = ""
    offset: int = Field(default=0, ge=0)
    done: float | None = Field(default=None, ge=0, le=1)

    @property
    def message_id(self) -> str:
        """An id that tells the pieces of one attempt apart."""
        return f"{super().message_id}/{self.sequence}"


class Usage(Contract):
    """What a model call used, as the provider tells; None where it does not tell. `cost` is in US dollars.

    `input_tokens` include the `cached_tokens`.
    """

    model: str
    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = Field(default=None, ge=0)


class NodeSucceeded(NodeMessage):
    """A node has its output. `seconds` is how long the body of the job took; `cached` says that none was needed.

    `queued_at` is when the job was given out, `started_at` when the `worker` took it. `warnings` tell what a person may
    want to know of an output that is good all the same.
    """

    kind: Literal["node.succeeded"] = "node.succeeded"
    at: datetime
    output: Value
    seconds: float | None = None
    usage: Usage | None = None
    cached: bool = False
    warnings: tuple[Problem, ...] = ()
    queued_at: datetime | None = None
    started_at: datetime | None = None
    worker: str | None = None


class NodeFailed(NodeMessage):
    """An attempt at a node failed.

    Where `retryable`, another attempt follows, not before `retry_after` seconds if the cause named a time; else the
    node has failed for good. `usage` is what the attempt cost all the same. `queued_at` is when the job was given out,
    `started_at` when the `worker` took it, where one has told of the failure.
    """

    kind: Literal["node.failed"] = "node.failed"
    at: datetime
    error: Problem
    retryable: bool = False
    retry_after: float | None = None
    seconds: float | None = None
    usage: Usage | None = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    worker: str | None = None


class NodeRetrying(NodeMessage):
    """An attempt failed, and another will be made at `retry_at`; `attempt` is the one that failed."""

    kind: Literal["node.retrying"] = "node.retrying"
    at: datetime
    error: Problem
    retry_at: datetime
    queued_at: datetime | None = None


class NodeSkipped(NodeMessage):
    """A node will not be executed, because what it depends on (`because_of`) failed or was skipped."""

    kind: Literal["node.skipped"] = "node.skipped"
    at: datetime
    because_of: str


class NodeCancelled(NodeMessage):
    """A node will not be executed, or not to its end, because its run was cancelled."""

    kind: Literal["node.cancelled"] = "node.cancelled"
    at: datetime


class NodeLate(NodeMessage):
    """A worker's result came when its attempt had been given up: it changes nothing, and what it cost is told."""

    kind: Literal["node.late"] = "node.late"
    at: datetime
    outcome: NodeStatus
    usage: Usage | None = None


WorkerMessage = NodeLasting | NodeSucceeded | NodeFailed
AnyEvent = (
    RunQueued
    | RunStarted
    | RunRejected
    | RunFinished
    | NodeQueued
    | NodeStarted
    | NodeLasting
    | NodeSucceeded
    | NodeFailed
    | NodeRetrying
    | NodeSkipped
    | NodeCancelled
    | NodeLate
)
Event = Annotated[AnyEvent, Field(discriminator="kind")]
EVENTS: tuple[type[Message], ...] = (
    *(RunQueued, RunStarted, RunRejected, RunFinished),
    *(NodeQueued, NodeStarted, NodeLasting, NodeSucceeded, NodeFailed),
    *(NodeRetrying, NodeSkipped, NodeCancelled, NodeLate),
)

# A timeout takes its place behind the results that came before it.
Result = Annotated[WorkerMessage | NodeExpire, Field(discriminator="kind")]

read_result = TypeAdapter[WorkerMessage | NodeExpire](Result, config=QUIET).validate_json
read_event = TypeAdapter[AnyEvent](Event, config=QUIET).validate_json

# What those are told who watch as it happens.
LiveEvent = Annotated[AnyEvent | NodeProgress, Field(discriminator="kind")]
read_live_event = TypeAdapter[AnyEvent | NodeProgress](LiveEvent, config=QUIET).validate_json

_STATUS_AFTER: Mapping[type[NodeMessage], NodeStatus] = MappingProxyType(
    {
        NodeQueued: NodeStatus.QUEUED,
        NodeStarted: NodeStatus.RUNNING,
        NodeLasting: NodeStatus.RUNNING,
        NodeProgress: NodeStatus.RUNNING,
        NodeSucceeded: NodeStatus.SUCCESS,
        NodeFailed: NodeStatus.FAILED,
        NodeRetrying: NodeStatus.RETRYING,
        NodeSkipped: NodeStatus.SKIPPED,
        NodeCancelled: NodeStatus.CANCELLED,
    }
)


def status_after(event: NodeMessage) -> NodeStatus | None:
    """Return the status that an event tells of its node; None where it tells of none, as a late result does."""
    if isinstance(event, NodeFailed) and event.retryable:
        return NodeStatus.RETRYING
    return _STATUS_AFTER.get(type(event))
