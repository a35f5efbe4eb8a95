"""Answers to questions: what a run is waiting for, and whether an attempt is waited for."""

import asyncio
from datetime import UTC, datetime

from aio_pika.abc import AbstractRobustConnection
from aio_pika.exceptions import AMQPError
from faststream.rabbit import RabbitMessage, RabbitResponse
from pydantic import ValidationError
from structlog import get_logger

from orchestrator.admission import Admission
from orchestrator.domain.why import Explainer, QueueCounts
from orchestrator.journal import Journal
from shared import topology
from shared.contracts.base import CONTENT_TYPE
from shared.contracts.errors import UnavailableError
from shared.contracts.queries import AttemptReply, Explain, GetAttempt, WhyReply, read_orchestrator_query
from shared.contracts.states import NodeStatus, RunStatus
from shared.messaging.connection import brief_channel

PATIENCE = 5.0  # seconds

log = get_logger(__name__)


class QueueGauge:
    """Tells how full queues are, on a channel of its own: to ask for one that is missing closes it."""

    def __init__(self, connection: AbstractRobustConnection) -> None:
        self._connection = connection

    async def counts(self, queue: str) -> QueueCounts:
        """Return how many messages and consumers a queue has; raise UnavailableError if that cannot be told."""
        try:
            async with asyncio.timeout(PATIENCE), brief_channel(self._connection) as channel:
                found = await topology.look_at_queue(channel, queue)
        except (AMQPError, OSError, RuntimeError) as err:  # TimeoutError is an OSError
            raise topology.unreadable(queue, err) from err
        return QueueCounts(found.message_count or 0, found.consumer_count or 0)

    async def depth(self, queue: str) -> int:
        """Return how many messages wait in a queue; raise UnavailableError if that cannot be told."""
        return (await self.counts(queue)).messages


class QueryHandler:
    """Answers questions; one that cannot be read is logged and not answered."""

    def __init__(self, journal: Journal, admission: Admission, gauge: QueueGauge) -> None:
        self._journal = journal
        self._admission = admission
        self._gauge = gauge

    async def handle(self, delivery: RabbitMessage) -> RabbitResponse | None:
        """Return the reply, as JSON."""
        try:
            query = read_orchestrator_query(delivery.body)
        except ValidationError as err:
            log.warning("unreadable query", problems=err.error_count())
            return None
        reply = await (self.why(query) if isinstance(query, Explain) else self.attempt(query))
        return RabbitResponse(reply.to_json(), content_type=CONTENT_TYPE)

    async def attempt(self, query: GetAttempt) -> AttemptReply:
        """Return whether the attempt goes on, as far as the journal knows."""
        async with self._journal.lock([query.run_id]) as locked:
            run = locked.runs.get(query.run_id)
        node = run.state.nodes.get(query.node_id) if run and run.state else None
        return AttemptReply(wanted=node is None or (node.attempt == query.attempt and node.status is NodeStatus.QUEUED))

    async def why(self, query: Explain) -> WhyReply:
        """Return what a run, or a node of it, is waiting for."""
        async with self._journal.lock([query.run_id]) as locked:
            run = locked.runs.get(query.run_id)
        if run is None or run.state is None:
            return WhyReply(known=False)
        waits = run.state.status is RunStatus.QUEUED
        place = await self._admission.place(query.run_id) if waits else None
        explainer = Explainer(run.state, now=datetime.now(UTC), place=place)
        node_ids = explainer.asked(query.node_id)
        return explainer.explain(node_ids, await self._counts(explainer.queues(node_ids)))

    async def _counts(self, queues: frozenset[str]) -> dict[str, QueueCounts]:
        counts: dict[str, QueueCounts] = {}
        for queue in queues:
            try:
                counts[queue] = await self._gauge.counts(queue)
            except UnavailableError as err:
                log.warning("a queue cannot be looked at", queue=queue, reason=str(err))
        return counts
