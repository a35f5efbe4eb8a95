"""From events to tables, and from queries to answers."""

from collections.abc import Sequence

from faststream.rabbit import RabbitMessage, RabbitResponse
from pydantic import TypeAdapter, ValidationError
from structlog import get_logger

from run_tracker.domain.telling import told_by
from run_tracker.repository import RunRepository
from shared.contracts.base import Contract
from shared.contracts.events import AnyEvent
from shared.contracts.queries import (
    CommandReply,
    EndsReply,
    FindEnds,
    FindOutputs,
    GetCommand,
    GetRun,
    HistoryQuery,
    ListRuns,
    OutputsReply,
    Query,
    RunReply,
    RunsReply,
)
from shared.messaging.publisher import CONTENT_TYPE

_read_query = TypeAdapter[HistoryQuery](Query).validate_json

log = get_logger(__name__)


class EventHandler:
    """Merges batches of events into the tables; when `handle` returns, they are committed."""

    def __init__(self, repository: RunRepository) -> None:
        self._repository = repository

    async def handle(self, batch: Sequence[AnyEvent]) -> None:
        """Merge a batch; raise UnavailableError while the database is away."""
        await self._repository.merge(told_by(batch))


class QueryHandler:
    """Answers queries; one that cannot be read is logged and not answered."""

    def __init__(self, repository: RunRepository) -> None:
        self._repository = repository

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
            case GetRun(run_id=run_id, owner=owner):
                return RunReply(run=await self._repository.get(run_id, owner))
            case ListRuns(workflow_id=workflow_id, owner=owner, limit=limit):
                return RunsReply(runs=await self._repository.newest(workflow_id, limit, owner))
            case GetCommand(run_id=run_id):
                return CommandReply(command=await self._repository.command(run_id))
            case FindOutputs(workflow_id=workflow_id, node_ids=node_ids, owner=owner):
                return OutputsReply(outputs=await self._repository.outputs(workflow_id, node_ids, owner))
            case FindEnds(run_ids=run_ids):
                return EndsReply(runs=await self._repository.ends(run_ids))
