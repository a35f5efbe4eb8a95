"""From deliveries to decisions: read the journal, decide, write the journal, publish."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client import Counter as CountMetric
from structlog import get_logger

from orchestrator.admission import Admission
from orchestrator.alarm import SetsTimers
from orchestrator.batch import take_in_batch
from orchestrator.clock import Clock, utc_now
from orchestrator.domain.intake import Incoming
from orchestrator.journal import Journal
from orchestrator.waiting_jobs import WaitingJobs
from shared.contracts.bundles import Publishable, bundled
from shared.contracts.commands import NodeAbandon, RunAdmit
from shared.contracts.envelope import Message
from shared.contracts.errors import UnavailableError
from shared.contracts.events import (
    NodeCancelled,
    NodeFailed,
    NodeLasting,
    NodeLate,
    NodeQueued,
    NodeRetrying,
    NodeSkipped,
    NodeSucceeded,
    RunFinished,
)
from shared.messaging.publisher import BundlePublisher
from shared.telemetry.batches import seconds_since_sent
from shared.telemetry.metrics import SECONDS

log = get_logger(__name__)

# A run that has more messages in a batch is large: those of other runs do not wait until all of its are handled.
LARGE = 6
_WORKERS_TELL = (NodeLasting, NodeSucceeded, NodeFailed)
_IN_BUNDLES = (NodeSucceeded, NodeFailed, NodeRetrying, NodeSkipped, NodeCancelled, NodeLate)
# Of these a loss does no harm, so that nothing waits until they are confirmed.
_UNAWAITED = (NodeAbandon, NodeQueued)


class Orchestrator:
    """Handles batches of commands and results.

    When `handle` returns, the journal is committed and every message that follows from the batch is confirmed
    by the broker; until then nothing of the batch may be acknowledged. Handling a message again does no harm.
    """

    def __init__(
        self,
        journal: Journal,
        admission: Admission,
        publisher: BundlePublisher,
        alarm: SetsTimers,
        waiting_jobs: WaitingJobs,
        *,
        registry: CollectorRegistry,
        clock: Clock = utc_now,
    ) -> None:
        self._journal = journal
        self._admission = admission
        self._publisher = publisher
        self._alarm = alarm
        self._waiting_jobs = waiting_jobs
        self._clock = clock
        self._lag = Histogram(
            "weft_journal_lag_seconds",
            "Time between the sending of a message and the commit of what it means",
            buckets=SECONDS,
            registry=registry,
        )
        self._retries = CountMetric(
            "weft_retries",
            "Attempts that failed and will be followed by another",
            ["node_type", "code"],
            registry=registry,
        )
        self._finished = CountMetric("weft_runs_finished", "Runs that ended", ["status"], registry=registry)
        self._reused = CountMetric("weft_nodes_reused", "Nodes that reused an earlier output", registry=registry)

    async def handle(self, batch: Sequence[Incoming]) -> None:
        """Take in a batch; raise UnavailableError while the database or the broker is away."""
        for part in _small_runs_first(batch):
            decisions = await take_in_batch(self._journal, part, now=self._clock())
            self._observe_lag(part)
            results = (message for message in part if isinstance(message, NodeSucceeded | NodeFailed))
            self._waiting_jobs.forget(result for result in results if result.queued_at)
            await self._publish(part, decisions.messages)
            self._alarm.set(decisions.timers)
            await self._admit(decisions.freed)
            self._reused.inc(decisions.reused)

    def _observe_lag(self, committed: Iterable[Incoming]) -> None:
        for message in committed:
            if (seconds := seconds_since_sent(message)) is not None:
                self._lag.observe(seconds)

    async def _publish(self, part: Iterable[Incoming], messages: Sequence[Message]) -> None:
        self._waiting_jobs.note([message for message in messages if isinstance(message, NodeQueued)])
        await self._publisher.publish_all(_awaited(part, messages))
        for message in messages:
            if isinstance(message, NodeAbandon):
                self._publisher.publish_unawaited(message)
            elif isinstance(message, RunFinished):
                self._finished.labels(message.status).inc()
            elif isinstance(message, NodeRetrying):
                self._retries.labels(message.node_type, message.error.code).inc()

    async def _admit(self, keys: Iterable[str]) -> None:
        """Let runs begin whose turn has come; where that fails, the reconciler does it."""
        try:
            if admitted := await self._admission.admit(keys):
                now = self._clock()
                await self._publisher.publish_all(RunAdmit(run_id=run_id, at=now) for run_id in admitted)
        except UnavailableError as err:
            log.warning("runs that wait for their turn are left to the reconciler", reason=str(err))


def _awaited(part: Iterable[Incoming], messages: Sequence[Message]) -> Iterator[Publishable]:
    """Yield what is to be published and confirmed, what happened first before what followed from it.

    What workers told is told on, to all who want to know: in bundles, with what was decided about nodes.
    """
    apart = [message for message in messages if not isinstance(message, (*_IN_BUNDLES, *_UNAWAITED))]
    yield from (message for message in apart if not isinstance(message, RunFinished))
    told = [message for message in part if isinstance(message, _WORKERS_TELL)]
    yield from bundled([*told, *(message for message in messages if isinstance(message, _IN_BUNDLES))])
    yield from (message for message in apart if isinstance(message, RunFinished))


def _small_runs_first(batch: Sequence[Incoming]) -> list[list[Incoming]]:
    """Return the batch in one part, or in two, where it has messages of large runs: those of small runs first."""
    counts = Counter(message.run_id for message in batch)
    small = [message for message in batch if counts[message.run_id] <= LARGE]
    large = [message for message in batch if counts[message.run_id] > LARGE]
    return [part for part in (small, large) if part]
