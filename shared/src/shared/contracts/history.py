"""Questions to the run tracker about many runs, or about what a run did when; and the retention of what it keeps."""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.base import SCHEMA_VERSION, Contract
from shared.contracts.cursors import Moment, NodeCursor, RunCursor
from shared.contracts.labels import MAX_TAG_LENGTH, MAX_TAGS
from shared.contracts.owners import Owner
from shared.contracts.states import NodeStatus, RunStatus

MAX_PAGE = 200
MAX_NODE_PAGE = 1_000
MAX_ERROR_TEXT = 200
MAX_STATISTICS_DAYS = 366

_NO_NUL = r"^[^\x00]*$"  # PostgreSQL keeps none
TagFilter = Annotated[str, Field(min_length=1, max_length=MAX_TAG_LENGTH, pattern=_NO_NUL)]
TriggerRunId = Annotated[str, Field(min_length=1, max_length=200, pattern=_NO_NUL)]


class RunFilter(Contract):
    """Which runs to list: those that meet all that is given.

    `status` is any of these, `tag` all of these. Times bound `createdAt`: from `since` on, before `until`. Costs are in
    US dollars, bounds included, and known of runs that have ended. `error` is a text that the errors of a run that
    failed, wholly or in part, contain in code or message; upper and lower case are the same.
    """

    status: tuple[RunStatus, ...] = Field(default=(), max_length=len(RunStatus))
    tag: tuple[TagFilter, ...] = Field(default=(), max_length=MAX_TAGS)
    since: Moment | None = None
    until: Moment | None = None
    min_cost: float | None = Field(default=None, ge=0)
    max_cost: float | None = Field(default=None, ge=0)
    error: str | None = Field(default=None, min_length=1, max_length=MAX_ERROR_TEXT, pattern=_NO_NUL)


class ListRuns(RunFilter):
    """Ask for a page of runs, newest first, of one workflow or of all, of one owner or of all.

    `after` is the `next` of the page before. Runs that begin meanwhile do not move the pages behind it.
    """

    schema_version: int = SCHEMA_VERSION
    kind: Literal["runs.list"] = "runs.list"
    workflow_id: UUID | None = None
    owner: Owner | None = None
    limit: int = Field(default=50, ge=1, le=MAX_PAGE)
    after: RunCursor | None = None


class FindRun(Contract):
    """Ask for the run that its caller named so, with its first nodes; with an `owner`, among theirs."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["run.find"] = "run.find"
    trigger_run_id: TriggerRunId
    owner: Owner | None = None


class GetTimeline(Contract):
    """Ask what the nodes of a run did when, attempt by attempt; `after` is the `next` of the page before."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["run.timeline"] = "run.timeline"
    run_id: UUID
    owner: Owner | None = None
    after: NodeCursor | None = None


class GetStatistics(Contract):
    """Ask how the runs of a workflow went that were created from `since` on and before `until`, in all and by day."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["runs.statistics"] = "runs.statistics"
    workflow_id: UUID
    owner: Owner | None = None
    since: Moment
    until: Moment


class PruneHistory(Contract):
    """Drop what was recorded in weeks that ended at least `older_than_days` ago and hold no run that goes on."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["history.prune"] = "history.prune"
    older_than_days: int = Field(ge=1, le=36_500)


class TimelineEntry(Contract):
    """An attempt at a node, or a node of which none was made (`attempt` is None then). Times are UTC.

    `queue_seconds` is how long the attempt waited for a worker.
    """

    node_id: str
    node_type: str | None = None
    name: str | None = None
    attempt: int | None = None
    status: NodeStatus
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    queue_seconds: float | None = None
    worker: str | None = None
    cached: bool = False


class TimelineReply(Contract):
    """The answer to GetTimeline, in the order of the workflow; `known` is false where there is no such run."""

    known: bool = True
    created_at: datetime | None = None
    finished_at: datetime | None = None
    entries: tuple[TimelineEntry, ...] = ()
    next: NodeCursor | None = None


class Statistics(Contract):
    """How runs went. `cost` is in US dollars; seconds are those from a run's creation to its end.

    `failure_rate` is the share of failed and partial runs in all that ended without being cancelled; it and the
    percentiles are None where no run counts.
    """

    runs: int = 0
    completed: int = 0
    partial: int = 0
    failed: int = 0
    cancelled: int = 0
    failure_rate: float | None = None
    p50_seconds: float | None = None
    p95_seconds: float | None = None
    cost: float = 0.0
    tokens: int = 0


class DayStatistics(Statistics):
    """How the runs went that were created on a day (UTC)."""

    day: date


class StatisticsReply(Contract):
    """The answer to GetStatistics; days without runs are missing."""

    since: datetime
    until: datetime
    total: Statistics = Statistics()
    days: tuple[DayStatistics, ...] = ()


class PrunedWeek(Contract):
    """A week of history, by its Monday; `open_runs` of its runs had not ended, so it was kept if there are any."""

    week: date
    runs: int
    open_runs: int = 0


class PruneReply(Contract):
    """The answer to PruneHistory: what was dropped, and what is old enough and was kept."""

    dropped: tuple[PrunedWeek, ...] = ()
    kept: tuple[PrunedWeek, ...] = ()
