"""From events to tables, and from queries to answers."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

from faststream.rabbit import RabbitMessage, RabbitResponse
from pydantic import TypeAdapter, ValidationError
from structlog import get_logger

from run_tracker.domain.records import NodeRecord, Record, RunRecord, records_of
from run_tracker.repository import RunRepository
from shared.contracts.base import Contract
from shared.contracts.messages import Event
from shared.contracts.queries import GetRun, ListRuns, Query, RunReply, RunsReply
from shared.messaging.publisher import CONTENT_TYPE

_read_query = TypeAdapter[GetRun | ListRuns](Query).validate_json
_R = TypeVar("_R", bound=Record)

log = get_logger(__name__)


class EventHandler:
    """Merges batches of events into the tables; when `handle` returns, they are committed."""

    def __init__(self, repository: RunRepository) -> None:
        self._repository = repository

    async def handle(self, batch: Sequence[Event]) -> None:
        """Merge a batch; raise UnavailableError while the database is away."""
        records = [record for event in batch for record in records_of(event)]
        runs = _merged((record.run_id, record) for record in records if isinstance(record, RunRecord))
        nodes = _merged(
            ((record.run_id, record.node_id), record) for record in records if isinstance(record, NodeRecord)
        )
        await self._repository.merge(runs.values(), nodes.values())


def _merged(records: Iterable[tuple[Hashable, _R]]) -> Mapping[Hashable, _R]:
    merged: dict[Hashable, _R] = {}
    for key, record in records:
        merged[key] = merged[key].merge(record) if key in merged else record
    return merged


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

    async def _answer(self, query: GetRun | ListRuns) -> Contract:
        match query:
            case GetRun(run_id=run_id):
                return RunReply(run=await self._repository.get(run_id))
            case ListRuns(workflow_id=workflow_id, limit=limit):
                return RunsReply(runs=await self._repository.newest(workflow_id, limit))
