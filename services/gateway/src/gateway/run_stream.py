"""What a client that watches a run is told: a snapshot, then every event, then the end, once. Never a hang.

A client that comes back says how far it had been told, and goes on from there, at whichever gateway: positions are
those of the broker's stream. Where the events from there on are not kept any more, it gets a snapshot again.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import NamedTuple
from uuid import UUID

from fastapi.sse import ServerSentEvent
from structlog import get_logger

from gateway.domain.event_ids import EventId
from gateway.domain.progress import Progress
from gateway.event_log import EventLog, LoggedEvent, readable
from gateway.live import Signal, Subscription
from shared.contracts.errors import UnavailableError
from shared.contracts.events import LiveEvent, NodeQueued, RunFinished, RunQueued, RunStarted
from shared.contracts.queries import RunView

SNAPSHOT = "run.snapshot"
# The stream has no gaps unnoticed; that the tracker is asked all the same is for what nobody foresaw.
FIRST_PAUSE = 1.0  # seconds without an event until the tracker is asked; doubles up to the last
LAST_PAUSE = 20.0

log = get_logger(__name__)


class Told(NamedTuple):
    """An update, and the id that says that the client has been told all up to it."""

    id: EventId
    update: RunView | LiveEvent


class RunStream:
    """The updates of one run, whose view is `first`; all of them, or those after a position where one is given."""

    def __init__(
        self,
        first: RunView,
        events: EventLog,
        subscription: Subscription,
        ask: Callable[[], Awaitable[RunView]],
        *,
        after: int | None = None,
        pause: float = FIRST_PAUSE,
    ) -> None:
        self._first, self._after = first, after
        self._events, self._subscription = events, subscription
        self._ask = ask
        self._progress = Progress()
        self._shown = Progress()  # what the last snapshot told
        self._shown_until = -1  # of events up to here, those that the snapshot told are left out
        self._pause = pause
        self._stale = False
        self._held_end: tuple[int, RunFinished] | None = None  # with its position

    async def updates(self) -> AsyncGenerator[Told]:
        """Yield snapshots and events; return after the one that tells the run's end, or when the gateway stops."""
        if self._resumes():
            self._resume()
        else:
            yield self._snapshot(self._first)
        while not self._progress.ended:
            item = await self._subscription.next(self._pause)
            if item is Signal.CLOSED:
                return
            told = await self._checked(item) if isinstance(item, Signal) else self._news(item)
            if told is not None:
                yield told
            if self._held_end and self._progress.knows_what_led_to(self._held_end[1]):
                yield self._end(*self._held_end)

    def _resumes(self) -> bool:
        return self._after is not None and self._events.covers(self._after)

    def _resume(self) -> None:
        assert self._after is not None
        if not Progress.of(self._first).ended:
            self._progress.take(self._first)
        for position, event in readable(self._events.after(self._first.run_id, -1)):
            if position <= self._after:
                self._progress.take(event)
        self._subscription.read_from(self._after)

    def _snapshot(self, view: RunView) -> Told:
        """Return a view to show; what it lacks of the events that are kept follows."""
        self._progress, self._stale = Progress.of(view), False
        self._shown, self._shown_until = Progress.of(view), self._events.newest
        position = self._shown_until if self._shown.ended else self._before_news(view.run_id)
        self._subscription.read_from(position)
        return Told(EventId(position, self._shown.ended), view)

    def _before_news(self, run_id: UUID) -> int:
        kept = readable(self._events.after(run_id, -1))
        lacking = (position for position, event in kept if self._shown.is_news(event))
        return next(lacking, self._events.newest + 1) - 1

    def _news(self, logged: LoggedEvent) -> Told | None:
        event = logged.event
        if event is None or (logged.position <= self._shown_until and not self._shown.is_news(event)):
            return None
        if isinstance(event, NodeQueued) and not self._progress.is_news(event):
            return None  # of a job that is over by now: where there are several orchestrators, not each knows
        if isinstance(event, RunFinished) and not self._progress.knows_what_led_to(event):
            # Where there are several orchestrators, the word of one may overtake that of another.
            self._held_end = logged.position, event
            return None
        self._progress.take(event)
        return Told(EventId(logged.position, self._progress.ended), event)

    def _end(self, position: int, event: RunFinished) -> Told:
        self._progress.take(event)
        return Told(EventId(position, ends=True), event)

    async def _checked(self, signal: Signal) -> Told | None:
        self._stale = self._stale or signal is Signal.LOST
        if signal is Signal.LOST:
            self._subscription.read_from(self._events.newest)
        self._pause = min(2 * self._pause, LAST_PAUSE)
        try:
            view = await self._ask()
        except UnavailableError as err:
            log.info("the run tracker cannot be asked, will be again", reason=str(err))
            return self._end(*self._held_end) if self._held_end else None
        # What came meanwhile may tell the same, and tells more.
        if not self._stale and not (self._subscription.is_empty and self._progress.lacks(view)):
            return None
        return self._snapshot(view)


def to_sse(told: Told) -> ServerSentEvent:
    """Return an update as it is sent: its kind, and its JSON on one line. How the run was asked for is left out."""
    update = told.update
    kind = SNAPSHOT if isinstance(update, RunView) else update.kind
    shown = update.model_copy(update={"command": None}) if isinstance(update, RunQueued | RunStarted) else update
    return ServerSentEvent(event=kind, raw_data=shown.to_json().decode(), id=str(told.id))


class NothingMoreError(Exception):
    """A client comes back that has been told the end."""

    def __init__(self, run_id: UUID) -> None:
        super().__init__(f"run {run_id} has ended, and the client knows")
