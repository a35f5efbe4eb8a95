"""Questions to run tracker, orchestrator and llm workers, by request and reply over the broker.

The gateway shows the answers as they are.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, TypeAdapter

from shared.contracts.base import QUIET, SCHEMA_VERSION, Contract
from shared.contracts.commands import RunStart
from shared.contracts.cursors import Moment, NodeCursor, RunCursor
from shared.contracts.errors import Problem
from shared.contracts.events import Usage
from shared.contracts.history import FindRun, GetStatistics, GetTimeline, ListRuns, PruneHistory
from shared.contracts.labels import Metadata, Tags
from shared.contracts.operations import FindAttempts, FindWaiting
from shared.contracts.owners import Owner
from shared.contracts.run_options import Scope
from shared.contracts.states import NodeStatus, RunStatus
from shared.contracts.values import RecordValue, Value

MAX_EXPLAINED = 100
MAX_COST_ROWS = 1_000


class GetRun(Contract):
    """Ask for one run with a page of its nodes; with an `owner`, only if it is theirs.

    `after` is the `next` of the page before. A page ends where its reply would get too large for the broker, else
    after 1,000 nodes.
    """

    schema_version: int = SCHEMA_VERSION
    kind: Literal["run.get"] = "run.get"
    run_id: UUID
    owner: Owner | None = None
    after: NodeCursor | None = None


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


HistoryQuery = (
    GetRun
    | FindRun
    | ListRuns
    | GetTimeline
    | GetStatistics
    | GetCommand
    | FindOutputs
    | FindEnds
    | FindWaiting
    | FindAttempts
    | PruneHistory
)
Query = Annotated[HistoryQuery, Field(discriminator="kind")]


class Explain(Contract):
    """Ask the orchestrator what a run, or one node of it, is waiting for."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["run.why"] = "run.why"
    run_id: UUID
    node_id: str | None = None


class GetAttempt(Contract):
    """Ask the orchestrator whether an attempt is still waited for, where its abandonment may not have been heard."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["attempt.get"] = "attempt.get"
    run_id: UUID
    node_id: str
    attempt: int


OrchestratorQuery = Annotated[Explain | GetAttempt, Field(discriminator="kind")]
read_orchestrator_query = TypeAdapter[Explain | GetAttempt](OrchestratorQuery, config=QUIET).validate_json


class CostsBy(StrEnum):
    """What the costs of model calls are summed up by; days are those of UTC."""

    DAY = "day"
    WORKFLOW = "workflow"
    MODEL = "model"


class FindCosts(Contract):
    """Ask the llm workers what model calls have cost, those begun `since` a time, or all that are still known."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["costs.find"] = "costs.find"
    by: CostsBy = CostsBy.DAY
    since: Moment | None = None


AnyQuery = HistoryQuery | Explain | GetAttempt | FindCosts


class LateResult(Contract):
    """A result that came when its attempt had been given up; `usage` is what it cost all the same."""

    attempt: int
    at: datetime
    outcome: NodeStatus
    usage: Usage | None = None


class AttemptView(Contract):
    """An attempt at a node as it is known now, whatever became of the node. Times are UTC.

    `queue_seconds` is how long it waited for a worker, `seconds` how long the body took; `usage` is what it cost.
    """

    attempt: int
    status: NodeStatus
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    queue_seconds: float | None = None
    seconds: float | None = None
    worker: str | None = None
    error: Problem | None = None
    usage: Usage | None = None


class NodeView(Contract):
    """A node execution as it is known now. Times are UTC; `seconds` is how long the body took.

    `cached` marks a success that reused an earlier output; `warnings` tell what a person may want to know of an output.
    What belongs to an attempt is that of the latest one; `attempts` are all that were made, the first one first.
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
    attempts: tuple[AttemptView, ...] = ()


class RunView(Contract):
    """A run as it is known now. `tokens` and `cost` (US dollars) are known at its end.

    In lists `nodes` and `result` are None, and `problems` are the first few.
    """

    run_id: UUID
    status: RunStatus
    workflow_id: UUID | None = None
    workflow_version: int | None = None
    workflow_name: str | None = None
    trigger_run_id: str | None = None
    resumed_from: UUID | None = None
    scope: Scope = Scope.FULL
    owner: Owner | None = None
    tags: Tags = ()
    metadata: Metadata = {}
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
    """The answer to GetRun and FindRun; `run` is None where the tracker knows no such run.

    `next` is where the nodes go on, None where these are the last. Pages after the first leave out the run's `result`.
    """

    run: RunView | None = None
    next: NodeCursor | None = None


class RunsReply(Contract):
    """The answer to ListRuns, newest first; `next` is where the list goes on, None at its end."""

    runs: tuple[RunView, ...] = ()
    next: RunCursor | None = None


class RunPage(Contract):
    """A page of runs as clients of the HTTP API get it: without nodes and results, newest first.

    `next_cursor` is for the next page, and missing on the last. Runs that begin meanwhile come before the first page
    and move none of the others.
    """

    runs: tuple[RunView, ...]
    next_cursor: str | None = None


class CommandReply(Contract):
    """The answer to GetCommand; `command` is None where the tracker does not know it."""

    command: RunStart | None = None


class OutputsReply(Contract):
    """The answer to FindOutputs, by node id; nodes that have never succeeded are missing.

    `left` are nodes to be asked for again: with their outputs this reply would have been too large for the broker.
    """

    outputs: dict[str, Value] = {}
    left: tuple[str, ...] = ()


class RunEnd(Contract):
    """What is known of a run's end. `cost` is in US dollars, and known once it has ended."""

    run_id: UUID
    ended: bool
    cost: float = 0.0


class EndsReply(Contract):
    """The answer to FindEnds; runs that the tracker does not know are missing."""

    runs: tuple[RunEnd, ...] = ()


class AttemptReply(Contract):
    """The answer to GetAttempt. Of what the orchestrator does not know, it cannot say that nobody waits for it."""

    wanted: bool = True


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


class CostRow(Contract):
    """What some model calls used and cost. `cost` is in US dollars, and leaves out what is not known.

    `key` is a day (`2026-11-24`), a workflow's id or a model's name; None for runs without a saved workflow. Of the
    `calls`, `unpriced` may have cost something that nobody knows; `failed` failed; of `unknown` ones nobody knows
    whether they were carried out. Input tokens include the cached ones.
    """

    key: str | None = None
    calls: int = 0
    failed: int = 0
    unknown: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0


class CostsReply(Contract):
    """The answer to FindCosts: days newest first, all else by cost; `MAX_COST_ROWS` at most, and the `total` of all."""

    by: CostsBy
    since: Moment | None = None
    rows: tuple[CostRow, ...] = ()
    total: CostRow = CostRow()
