"""Questions to run tracker and orchestrator, by request and reply over the broker.

The gateway shows the answers as they are.
"""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.base import SCHEMA_VERSION, Contract
from shared.contracts.commands import RunStart
from shared.contracts.errors import Problem
from shared.contracts.events import Usage
from shared.contracts.owners import Owner
from shared.contracts.run_options import Scope
from shared.contracts.states import NodeStatus, RunStatus
from shared.contracts.values import RecordValue, Value

MAX_PAGE = 200
MAX_EXPLAINED = 100


class GetRun(Contract):
    """Ask for one run with its nodes; with an `owner`, only if it is theirs."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["run.get"] = "run.get"
    run_id: UUID
    owner: Owner | None = None


class ListRuns(Contract):
    """Ask for the newest runs, of one workflow or of all, of one owner or of all."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["runs.list"] = "runs.list"
    workflow_id: UUID | None = None
    owner: Owner | None = None
    limit: int = Field(default=50, ge=1, le=MAX_PAGE)


class GetCommand(Contract):
    """Ask how a run was asked for, to resume or to replay it."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["run.command"] = "run.command"
    run_id: UUID


class FindOutputs(Contract):
    """Ask for the newest output of each of these nodes in any run of a workflow; with an `owner`, in any of theirs."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["outputs.find"] = "outputs.find"
    workflow_id: UUID
    node_ids: tuple[str, ...]
    owner: Owner | None = None


class FindEnds(Contract):
    """Ask which of these runs have ended, and what they cost."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["ends.find"] = "ends.find"
    run_ids: tuple[UUID, ...]


HistoryQuery = GetRun | ListRuns | GetCommand | FindOutputs | FindEnds
Query = Annotated[HistoryQuery, Field(discriminator="kind")]


class Explain(Contract):
    """Ask the orchestrator what a run, or one node of it, is waiting for."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["run.why"] = "run.why"
    run_id: UUID
    node_id: str | None = None


AnyQuery = HistoryQuery | Explain


class LateResult(Contract):
    """A result that came when its attempt had been given up; `usage` is what it cost all the same."""

    attempt: int
    at: datetime
    outcome: NodeStatus
    usage: Usage | None = None


class NodeView(Contract):
    """A node execution as it is known now. Times are UTC; `seconds` is how long the body took.

    `cached` marks a success that reused an earlier output; `warnings` tell what a person may want to know of an output.
    """

    node_id: str
    node_type: str | None = None
    name: str | None = None
    status: NodeStatus
    attempt: int = 1
    queued_at: datetime | None = None
    started_at: datetime | None = None
    retry_at: datetime | None = None
    finished_at: datetime | None = None
    seconds: float | None = None
    worker: str | None = None
    output: Value | None = None
    error: Problem | None = None
    usage: Usage | None = None
    cached: bool = False
    warnings: tuple[Problem, ...] = ()
    late: tuple[LateResult, ...] = ()


class RunView(Contract):
    """A run as it is known now. `nodes` is None in lists. `tokens` and `cost` (US dollars) are known at its end."""

    run_id: UUID
    status: RunStatus
    workflow_id: UUID | None = None
    workflow_version: int | None = None
    workflow_name: str | None = None
    trigger_run_id: str | None = None
    resumed_from: UUID | None = None
    scope: Scope = Scope.FULL
    owner: Owner | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None
    total_nodes: int = 0
    successful_nodes: int = 0
    failed_nodes: int = 0
    skipped_nodes: int = 0
    cancelled_nodes: int = 0
    cached_nodes: int = 0
    tokens: int = 0
    cost: float = 0.0
    result: RecordValue | None = None
    problems: tuple[Problem, ...] = ()
    nodes: tuple[NodeView, ...] | None = None


class RunReply(Contract):
    """The answer to GetRun; `run` is None where the tracker knows no such run."""

    run: RunView | None = None


class RunsReply(Contract):
    """The answer to ListRuns, newest first."""

    runs: tuple[RunView, ...] = ()


class CommandReply(Contract):
    """The answer to GetCommand; `command` is None where the tracker does not know it."""

    command: RunStart | None = None


class OutputsReply(Contract):
    """The answer to FindOutputs, by node id; nodes that have never succeeded are missing."""

    outputs: dict[str, Value] = {}


class RunEnd(Contract):
    """What is known of a run's end. `cost` is in US dollars, and known once it has ended."""

    run_id: UUID
    ended: bool
    cost: float = 0.0


class EndsReply(Contract):
    """The answer to FindEnds; runs that the tracker does not know are missing."""

    runs: tuple[RunEnd, ...] = ()


class Reason(Contract):
    """Why a node, or a run, is not further on. `code` is stable, `message` for people; the rest where it applies.

    `messages` and `consumers` are those of `queue`, the former waiting; `place` counts from 1; `until` is when
    something will happen by itself.
    """

    code: str
    message: str
    nodes: tuple[str, ...] = ()
    queue: str | None = None
    messages: int | None = None
    consumers: int | None = None
    place: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    attempt: int | None = None
    error: Problem | None = None


class NodeExplanation(Contract):
    """What a node is waiting for; nothing, once it has ended."""

    node_id: str
    status: NodeStatus
    reasons: tuple[Reason, ...]


class WhyReply(Contract):
    """The answer to Explain. `known` is false where the orchestrator knows no such run (any more), or no such node.

    `nodes` are the one that was asked about, or those that have not ended, `MAX_EXPLAINED` at most.
    """

    known: bool = True
    status: RunStatus | None = None
    reasons: tuple[Reason, ...] = ()
    nodes: tuple[NodeExplanation, ...] = ()
    open_nodes: int = 0
