"""The alarm clock: sends what is due to the orchestrator's own queue.

A timer that fires is a message like any other: it is journaled, a repetition of it does no harm, and a crash on the
way loses nothing, because until it is journaled the journal says that the node waits. So replicas may all have the
same timers set, and a timer far ahead need not be set: the reconciler finds it again.
"""

import asyncio
import heapq
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Protocol

from opentelemetry.context import Context, get_current
from structlog import get_logger

from orchestrator.domain.timers import Timer
from shared.contracts.errors import UnavailableError
from shared.messaging.publisher import MessagePublisher
from shared.telemetry.batches import context_of
from shared.telemetry.tracing import attached

HORIZON = timedelta(seconds=90)  # timers that are due later are left to a later sweep of the reconciler
RETRY_SECONDS = 1.0

log = get_logger(__name__)


class SetsTimers(Protocol):
    """What sees to it that timers fire."""

    def set(self, timers: Iterable[Timer]) -> None:
        """Set timers; one that is set already is not set twice."""
        ...


class Alarm:
    """Holds the timers that this process knows of."""

    def __init__(self, publisher: MessagePublisher) -> None:
        self._publisher = publisher
        self._waiting: list[tuple[datetime, int, Timer]] = []
        self._known: dict[str, Context] = {}  # by message id: the trace that a timer belongs to
        self._order = count()
        self._changed = asyncio.Event()

    def set(self, timers: Iterable[Timer]) -> None:
        """Set those timers that are due before the horizon; one that is set already is not set twice."""
        latest = datetime.now(UTC) + HORIZON
        for timer in timers:
            if timer.due <= latest and timer.message.message_id not in self._known:
                self._known[timer.message.message_id] = context_of(timer.message) or get_current()
                heapq.heappush(self._waiting, (timer.due, next(self._order), timer))
                self._changed.set()

    async def ring(self) -> None:
        """Send what is due, for ever."""
        while True:
            self._changed.clear()
            await self._wait(until=self._waiting[0][0] if self._waiting else None)
            while self._waiting and self._waiting[0][0] <= datetime.now(UTC):
                _, _, timer = heapq.heappop(self._waiting)
                with attached(self._known.pop(timer.message.message_id)):
                    await self._fire(timer)

    async def _wait(self, *, until: datetime | None) -> None:
        seconds = (until - datetime.now(UTC)).total_seconds() if until else None
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _fire(self, timer: Timer) -> None:
        try:
            await self._publisher.publish(timer.message)
        except UnavailableError as err:
            log.warning("a timer could not be sent, will be again", reason=str(err))
            self.set([timer])
            await asyncio.sleep(RETRY_SECONDS)
