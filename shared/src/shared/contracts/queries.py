"""Questions to the run tracker and its answers (request/reply over the broker); the gateway shows them as they are."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.base import SCHEMA_VERSION, Contract
from shared.contracts.errors import Problem
from shared.contracts.messages import Usage
from shared.contracts.states import NodeStatus, RunStatus
from shared.contracts.values import RecordValue, Value

MAX_PAGE = 200


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


Query = Annotated[GetRun | ListRuns, Field(discriminator="kind")]


class NodeView(Contract):
    """A node execution as it is known now. Times are UTC; `seconds` is how long the body took."""

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


class RunView(Contract):
    """A run as it is known now. `nodes` is None in lists."""

    run_id: UUID
    status: RunStatus
    workflow_id: UUID | None = None
    workflow_version: int | None = None
    workflow_name: str | None = None
    trigger_run_id: str | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None
    total_nodes: int = 0
    successful_nodes: int = 0
    failed_nodes: int = 0
    skipped_nodes: int = 0
    cancelled_nodes: int = 0
    result: RecordValue | None = None
    problems: tuple[Problem, ...] = ()
    nodes: tuple[NodeView, ...] | None = None


class RunReply(Contract):
    """The answer to GetRun; `run` is None where the tracker knows no such run."""

    run: RunView | None = None


class RunsReply(Contract):
    """The answer to ListRuns, newest first."""

    runs: tuple[RunView, ...] = ()
