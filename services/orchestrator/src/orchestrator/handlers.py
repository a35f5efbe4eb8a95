"""From deliveries to decisions: read the journal, decide, write the journal, publish."""

from collections.abc import Sequence
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Histogram
from structlog import get_logger

from orchestrator.alarm import Alarm
from orchestrator.domain.intake import Incoming, take_in
from orchestrator.domain.timers import retry_timer
from orchestrator.journal import Journal, JournaledRun
from shared.contracts.messages import Message, NodeRetrying, RunFinished, RunStart
from shared.messaging.publisher import Publisher

log = get_logger(__name__)


class Orchestrator:
    """Handles batches of commands and results.

    When `handle` returns, the journal is committed and every message that follows from the batch is confirmed
    by the broker; until then nothing of the batch may be acknowledged. Handling a message again does no harm.
    """

    def __init__(self, journal: Journal, publisher: Publisher, alarm: Alarm, registry: CollectorRegistry) -> None:
        self._journal = journal
        self._publisher = publisher
        self._alarm = alarm
        self._batch_size = Histogram(
            "weft_batch_size", "Messages per batch", buckets=(1, 2, 5, 10, 20, 50, 100, 200), registry=registry
        )
        self._finished = Counter("weft_runs_finished", "Runs that ended", ["status"], registry=registry)

    async def handle(self, batch: Sequence[Incoming]) -> None:
        """Take in a batch; raise UnavailableError while the database or the broker is away."""
        self._batch_size.observe(len(batch))
        now = datetime.now(UTC)
        new = [message.run_id for message in batch if isinstance(message, RunStart)]
        messages: list[Message] = []
        async with self._journal.runs((message.run_id for message in batch), new) as runs:
            for message in batch:
                messages += _take_in(runs.get(message.run_id), message, now)
        await self._publisher.publish_all(messages)
        self._alarm.set(
            retry_timer(message.about, message.retry_at) for message in messages if isinstance(message, NodeRetrying)
        )
        self._count(messages)

    def _count(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if isinstance(message, RunFinished):
                self._finished.labels(message.status).inc()


def _take_in(run: JournaledRun | None, message: Incoming, now: datetime) -> Sequence[Message]:
    if run is None or run.pruned:
        log.warning("ignored: its run is not under way", message_id=message.message_id)
        return ()
    decision = take_in(run.state, message, now=now)
    if decision.event:
        run.advance(decision.state, decision.event)
    else:
        log.info("repeated", message_id=message.message_id)
    return decision.messages
