"""What the run tracker knows of many runs, and of what a run did when."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from gateway.domain.callers import NOBODY, Caller
from gateway.tracker_client import TrackerClient
from gateway.views import RunListQuery, StatisticsQuery, TimelineView
from shared.contracts.cursors import RunCursor
from shared.contracts.errors import InvalidInputError, invalid
from shared.contracts.history import (
    MAX_STATISTICS_DAYS,
    GetStatistics,
    ListRuns,
    RunFilter,
    StatisticsReply,
)
from shared.contracts.queries import RunPage, RunView

DEFAULT_STATISTICS_DAYS = 30


class History:
    """Asks the run tracker; every method raises `no_answer` where it does not answer."""

    def __init__(self, tracker: TrackerClient, caller: Caller = NOBODY) -> None:
        self._tracker = tracker
        self._owner = caller.sees_only

    def seen_by(self, caller: Caller) -> "History":
        """Return the same history as a caller sees it: runs of others do not exist."""
        return History(self._tracker, caller)

    async def list(self, workflow_id: UUID | None, query: RunListQuery) -> RunPage:
        """Return a page of the runs of one workflow, or of all; raise `invalid_cursor`."""
        filters = {name: getattr(query, name) for name in RunFilter.model_fields}
        after = RunCursor.from_text(query.cursor) if query.cursor else None
        asked = ListRuns(**filters, workflow_id=workflow_id, owner=self._owner, limit=query.limit, after=after)
        reply = await self._tracker.list_runs(asked)
        return RunPage(runs=reply.runs, next_cursor=reply.next and reply.next.to_text())

    async def find(self, trigger_run_id: str) -> RunView | None:
        """Return the run that its caller named so, with its nodes, if it is known."""
        return await self._tracker.find_run(trigger_run_id, owner=self._owner)

    async def timeline(self, run_id: UUID) -> TimelineView:
        """Return what the nodes of a run did when; raise `run_not_found`."""
        reply = await self._tracker.get_timeline(run_id, owner=self._owner)
        if not reply.known:
            raise no_run(str(run_id), "runId")
        return TimelineView(
            run_id=run_id, created_at=reply.created_at, finished_at=reply.finished_at, entries=reply.entries
        )

    async def statistics(self, workflow_id: UUID, query: StatisticsQuery) -> StatisticsReply:
        """Return how the runs of a workflow went, in all and by day; raise `invalid_period`."""
        until = query.until or datetime.now(UTC)
        since = query.since or until - timedelta(days=DEFAULT_STATISTICS_DAYS)
        if not timedelta() < until - since <= timedelta(days=MAX_STATISTICS_DAYS):
            raise invalid(
                "invalid_period",
                f"the time between since and until is not between 0 and {MAX_STATISTICS_DAYS} days",
                where="since",
                fix=f"ask for {MAX_STATISTICS_DAYS} days at most, with since before until",
            )
        return await self._tracker.get_statistics(
            GetStatistics(workflow_id=workflow_id, owner=self._owner, since=since, until=until)
        )


def no_run(name: str, where: str) -> InvalidInputError:
    """Return the error that says that a run is not known; `name` is its id, or says how it was looked for."""
    return invalid("run_not_found", f"there is no run {name}", where=where)
