"""Telling of jobs that take a while: when one began that is soon over, its result tells, and that is all.

Those who watch hear that a worker has had a job for a moment, and the orchestrator that it lasts, so that its timeout
can be watched from outside. Either may be lost, and harms nothing.
"""

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from opentelemetry.context import Context, get_current

from shared.contracts.bundles import bundled
from shared.contracts.commands import NodeExecute
from shared.contracts.events import NodeLasting, NodeStarted
from shared.messaging.publisher import BundlePublisher
from shared.telemetry.propagation import headers_of
from shared.telemetry.tracing import attached

STARTED_SECONDS = 0.1  # a job that takes longer is told of, with others, to those who watch
LASTING_SECONDS = 1.0  # a job that takes longer is told of to the orchestrator
TICK_SECONDS = 0.1


@dataclass(slots=True, eq=False)
class Begun:
    """A job whose body began at that time (`since` by a clock that is never set), in the context of its trace."""

    job: NodeExecute
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    since: float = field(default_factory=time.monotonic)
    context: Context = field(default_factory=get_current)
    is_over: bool = False


class UnderWay:
    """Watches the jobs that have begun, and tells of those that are not over after a while."""

    def __init__(self, publisher: BundlePublisher, worker: str) -> None:
        self._publisher = publisher
        self._worker = worker
        self._begun: deque[Begun] = deque()
        self._started: deque[Begun] = deque()  # of these it is told; they may last
        self._tick: asyncio.TimerHandle | None = None

    def begin(self, job: NodeExecute) -> Begun:
        """Watch a job, which begins now, until it is marked as over."""
        begun = Begun(job)
        self._begun.append(begun)
        if self._tick is None:
            self._wait()
        return begun

    def _wait(self) -> None:
        # In a context of its own: what is told together is about none of the jobs alone, in traces and in logs.
        loop = asyncio.get_running_loop()
        self._tick = loop.call_later(TICK_SECONDS, self._tell, context=contextvars.Context())

    def _tell(self) -> None:
        started = list(_due(self._begun, STARTED_SECONDS))
        self._tell_started(started)
        self._started.extend(started)
        for begun in _due(self._started, LASTING_SECONDS):
            self._tell_lasting(begun)
        self._tick = None
        if self._begun or self._started:
            self._wait()

    def _tell_started(self, started: Sequence[Begun]) -> None:
        events = [NodeStarted(**begun.job.about, at=begun.at, worker=self._worker) for begun in started]
        jobs = zip(events, started, strict=True)
        traces = {event.message_id: headers_of(begun.context) for event, begun in jobs}
        for bundle in bundled(events, traces):
            self._publisher.publish_unawaited(bundle)

    def _tell_lasting(self, begun: Begun) -> None:
        # Its loss is made good by the orchestrator, which looks after attempts that it hears nothing of.
        lasting = NodeLasting(**begun.job.about, at=datetime.now(UTC), started_at=begun.at)
        with attached(begun.context):
            self._publisher.publish_unawaited(lasting)


def _due(jobs: deque[Begun], seconds: float) -> Iterator[Begun]:
    """Take those out that have been going on for so long; yield them but for those that are over."""
    while jobs and time.monotonic() - jobs[0].since >= seconds:
        begun = jobs.popleft()
        if not begun.is_over:
            yield begun
