"""What a client that watches a workflow is told: its newest runs, then every event of all its runs, without an end."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import NamedTuple

from fastapi.sse import ServerSentEvent
from structlog import get_logger

from gateway.domain.event_ids import EventId
from gateway.event_log import EventLog
from gateway.live import Signal, Subscription
from gateway.run_stream import Told, to_sse
from shared.contracts.errors import UnavailableError
from shared.contracts.queries import RunPage

SNAPSHOT = "workflow.snapshot"
WATCHED_RUNS = 200  # the newest, told with the snapshot
LOOK_SECONDS = 5.0  # without an event; after a gap, the tracker is asked again then, if it was away

log = get_logger(__name__)


class Shown(NamedTuple):
    """A snapshot, and the id that says that the client has been told all up to it."""

    id: EventId
    runs: RunPage


class WorkflowStream:
    """The updates of one workflow, whose newest runs are `first`; or what follows a position where one is given."""

    def __init__(
        self,
        first: RunPage,
        events: EventLog,
        subscription: Subscription,
        ask: Callable[[], Awaitable[RunPage]],
        *,
        position: int,
        resumes: bool,
    ) -> None:
        self._first = Shown(EventId(position), first)
        self._resumes = resumes
        self._events, self._subscription = events, subscription
        self._ask = ask
        self._stale = False

    async def updates(self) -> AsyncGenerator[Told | Shown]:
        """Yield snapshots and events, until the gateway stops."""
        if not self._resumes:
            yield self._first
        while (item := await self._subscription.next(LOOK_SECONDS)) is not Signal.CLOSED:
            if isinstance(item, Signal):
                told = await self._checked(item)
            else:
                told = Told(EventId(item.position), item.event) if item.event else None
            if told is not None:
                yield told

    async def _checked(self, signal: Signal) -> Shown | None:
        self._stale = self._stale or signal is Signal.LOST
        if not self._stale:
            return None
        position = self._events.newest
        self._subscription.read_from(position)
        try:
            runs = await self._ask()
        except UnavailableError as err:
            log.info("the run tracker cannot be asked, will be again", reason=str(err))
            return None
        self._stale = False
        return Shown(EventId(position), runs)


def shown_to_sse(told: Told | Shown) -> ServerSentEvent:
    """Return an update as it is sent: its kind, and its JSON on one line."""
    if isinstance(told, Told):
        return to_sse(told)
    return ServerSentEvent(event=SNAPSHOT, raw_data=told.runs.to_json().decode(), id=str(told.id))
