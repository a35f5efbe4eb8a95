"""From events to tables, and from queries to answers."""

from collections.abc import Sequence
from datetime import UTC, datetime

from faststream.rabbit import RabbitMessage, RabbitResponse
from prometheus_client import CollectorRegistry, Histogram
from pydantic import TypeAdapter, ValidationError
from structlog import get_logger

from run_tracker.domain.telling import told_by
from run_tracker.domain.views import timeline
from run_tracker.jobs import Jobs
from run_tracker.partitions import Partitions
from run_tracker.repository import RunRepository
from run_tracker.run_lists import RunLists
from shared.contracts.base import CONTENT_TYPE, QUIET, Contract
from shared.contracts.events import AnyEvent
from shared.contracts.history import FindRun, GetStatistics, GetTimeline, ListRuns, PruneHistory, TimelineReply
from shared.contracts.operations import FindAttempts, FindWaiting
from shared.contracts.queries import (
    CommandReply,
    EndsReply,
    FindEnds,
    FindOutputs,
    GetCommand,
    GetRun,
    HistoryQuery,
    Query,
)
from shared.database import Database
from shared.telemetry.metrics import SECONDS

_read_query = TypeAdapter[HistoryQuery](Query, config=QUIET).validate_json

log = get_logger(__name__)


class EventHandler:
    """Merges events into the tables; when `record` returns, they are committed."""

    def __init__(self, repository: RunRepository, registry: CollectorRegistry | None = None) -> None:
        self._repository = repository
        self._lag = Histogram(
            "weft_history_lag_seconds",
            "Time between what an event tells of and the commit of its record",
            buckets=SECONDS,
            registry=registry,
        )

    async def record(self, events: Sequence[AnyEvent]) -> None:
        """Merge events; raise UnavailableError while the database is away."""
        await self._repository.merge(told_by(events))
        now = datetime.now(UTC)
        for event in events:
            self._lag.observe(max(0.0, (now - event.at).total_seconds()))


class QueryHandler:
    """Answers queries; one that cannot be read is logged and not answered."""

    def __init__(self, database: Database) -> None:
        self._repository = RunRepository(database)
        self._lists = RunLists(database)
        self._partitions = Partitions(database)
        self._jobs = Jobs(database)

    async def handle(self, delivery: RabbitMessage) -> RabbitResponse | None:
        """Return the reply, as JSON."""
        try:
            query = _read_query(delivery.body)
        except ValidationError as err:
            log.warning("unreadable query", problems=err.error_count())
            return None
        reply = await self._answer(query)
        return RabbitResponse(reply.to_json(), content_type=CONTENT_TYPE)

    async def _answer(self, query: HistoryQuery) -> Contract:
        match query:
            case GetRun(run_id=run_id, owner=owner, after=after):
                return await self._repository.page(run_id, owner, after)
            case FindRun(trigger_run_id=trigger_run_id, owner=owner):
                return await self._repository.find(trigger_run_id, owner)
            case GetTimeline():
                return await self._timeline(query)
            case GetCommand(run_id=run_id):
                return CommandReply(command=await self._repository.command(run_id))
            case _:
                return await self._answer_about_many(query)

    async def _answer_about_many(
        self,
        query: ListRuns | GetStatistics | FindOutputs | FindEnds | FindWaiting | FindAttempts | PruneHistory,
    ) -> Contract:
        match query:
            case ListRuns():
                return await self._lists.page(query)
            case GetStatistics():
                return await self._lists.statistics(query)
            case FindOutputs(workflow_id=workflow_id, node_ids=node_ids, owner=owner):
                return await self._repository.outputs(workflow_id, node_ids, owner)
            case FindEnds(run_ids=run_ids):
                return EndsReply(runs=await self._repository.ends(run_ids))
            case FindWaiting() | FindAttempts():
                return await self._answer_about_jobs(query)
            case PruneHistory(older_than_days=days):
                return await self._partitions.prune(days)

    async def _answer_about_jobs(self, query: FindWaiting | FindAttempts) -> Contract:
        match query:
            case FindWaiting():
                return await self._jobs.waiting()
            case FindAttempts(attempts=attempts):
                return await self._jobs.attempts(attempts)

    async def _timeline(self, query: GetTimeline) -> TimelineReply:
        page = await self._repository.page(query.run_id, query.owner, query.after)
        if page.run is None:
            return TimelineReply(known=False)
        return TimelineReply(
            created_at=page.run.created_at,
            finished_at=page.run.finished_at,
            entries=tuple(entry for node in page.run.nodes or () for entry in timeline(node)),
            next=page.next,
        )
