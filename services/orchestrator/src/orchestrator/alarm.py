"""The alarm clock: sends what is due to the orchestrator's own queue.

A timer that fires is a message like any other: it is journaled, a repetition of it does no harm, and a crash on the
way loses nothing, because until it is journaled the journal says that the node waits. So replicas may all have the
same timers set.
"""

import asyncio
import heapq
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import count
from uuid import UUID

from structlog import get_logger

from orchestrator.domain.timers import Timer, timers_of
from orchestrator.journal import Journal
from shared.contracts.errors import UnavailableError
from shared.messaging.publisher import Publisher

SWEEP_SECONDS = 30.0  # how long a timer of a replica that died may be late
RETRY_SECONDS = 1.0
SWEEP_BATCH = 100  # runs that are locked at a time

log = get_logger(__name__)


class Alarm:
    """Holds the timers that this process knows of, and looks regularly for those that it does not."""

    def __init__(self, journal: Journal, publisher: Publisher) -> None:
        self._journal = journal
        self._publisher = publisher
        self._waiting: list[tuple[datetime, int, Timer]] = []
        self._known: set[str] = set()
        self._order = count()
        self._changed = asyncio.Event()

    def set(self, timers: Iterable[Timer]) -> None:
        """Set timers; one that is set already is not set twice."""
        for timer in timers:
            if timer.message.message_id not in self._known:
                self._known.add(timer.message.message_id)
                heapq.heappush(self._waiting, (timer.due, next(self._order), timer))
                self._changed.set()

    async def ring(self) -> None:
        """Send what is due, for ever."""
        while True:
            self._changed.clear()
            await self._wait(until=self._waiting[0][0] if self._waiting else None)
            while self._waiting and self._waiting[0][0] <= datetime.now(UTC):
                _, _, timer = heapq.heappop(self._waiting)
                self._known.discard(timer.message.message_id)
                await self._fire(timer)

    async def sweep(self) -> None:
        """Find the timers of all runs that are under way, at once and then regularly, for ever."""
        while True:
            try:
                await self._find_timers()
            except UnavailableError as err:
                log.warning("timers not looked for, will be later", reason=str(err))
            await asyncio.sleep(SWEEP_SECONDS)

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

    async def _find_timers(self) -> None:
        run_ids = await self._journal.unfinished()
        for start in range(0, len(run_ids), SWEEP_BATCH):
            await self._find_timers_isolating(run_ids[start : start + SWEEP_BATCH])

    async def _find_timers_isolating(self, run_ids: Sequence[UUID]) -> None:
        """Look at runs together; if that fails, one by one, so that a journal nobody can read harms only its run."""
        try:
            async with self._journal.runs(run_ids, []) as runs:
                self.set(timer for run in runs.values() if run.state for timer in timers_of(run.state))
        except UnavailableError:
            raise
        except Exception:
            if len(run_ids) == 1:
                log.exception("the journal of a run cannot be read", run_id=str(run_ids[0]))
                return
            for run_id in run_ids:
                await self._find_timers_isolating([run_id])
