"""Questions to run tracker, orchestrator and llm workers, by request and reply over the broker.

The gateway shows the answers as they are.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, TypeAdapter

from shared.contracts.base import SCHEMA_VERSION, Contract
from shared.contracts.commands import RunStart
from shared.contracts.errors import Problem
from shared.contracts.events import Usage
from shared.contracts.run_options import Scope
from shared.contracts.states import NodeStatus, RunStatus
from shared.contracts.values import RecordValue, Value

MAX_PAGE = 200
MAX_EXPLAINED = 100
MAX_COST_ROWS = 1_000


class GetRun(Contract):
    """Ask for one run with its nodes."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["run.get"] = "run.get"
    run_id: UUID


class ListRuns(Contract):
    """Ask for the newest runs, of one workflow or of all."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["runs.list"] = "runs.list"
    workflow_id: UUID | None = None
    limit: int = Field(default=50, ge=1, le=MAX_PAGE)


class GetCommand(Contract):
    """Ask how a run was asked for, to resume or to replay it."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["run.command"] = "run.command"
    run_id: UUID


class FindOutputs(Contract):
    """Ask for the newest output of each of these nodes in any run of a workflow."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["outputs.find"] = "outputs.find"
    workflow_id: UUID
    node_ids: tuple[str, ...]


HistoryQuery = GetRun | ListRuns | GetCommand | FindOutputs
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
read_orchestrator_query = TypeAdapter[Explain | GetAttempt](OrchestratorQuery).validate_json


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
    since: AwareDatetime | None = None


AnyQuery = HistoryQuery | Explain | GetAttempt | FindCosts


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
    since: AwareDatetime | None = None
    rows: tuple[CostRow, ...] = ()
    total: CostRow = CostRow()
