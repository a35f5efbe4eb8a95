"""What a client that watches a run is told: a snapshot, then every event, then the end. Never a hang.

Live events can be missed: before the subscription, while the broker is away, by a slow client. So whenever
nothing comes for a moment the run tracker is asked, and a client that lacks something gets a fresh snapshot.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable

from fastapi.sse import ServerSentEvent
from structlog import get_logger

from gateway.domain.progress import Progress
from gateway.live import Signal, Subscription
from shared.contracts.errors import UnavailableError
from shared.contracts.events import LiveEvent, RunQueued, RunStarted
from shared.contracts.queries import RunView

SNAPSHOT = "run.snapshot"
FIRST_PAUSE = 0.1  # seconds without an event until the tracker is asked; doubles up to the last
LAST_PAUSE = 1.0

log = get_logger(__name__)


class RunStream:
    """The updates of one run. `first` was asked for after the subscription, so nothing falls between them."""

    def __init__(self, first: RunView, subscription: Subscription, ask: Callable[[], Awaitable[RunView]]) -> None:
        self._first = first
        self._subscription = subscription
        self._ask = ask
        self._progress = Progress()
        self._pause = FIRST_PAUSE
        self._stale = False

    async def updates(self) -> AsyncGenerator[RunView | LiveEvent]:
        """Yield snapshots and events; return after the one that tells the run's end, or when the gateway stops."""
        self._progress.take(self._first)
        yield self._first
        while not self._progress.ended:
            item = await self._subscription.next(self._pause)
            if item is Signal.CLOSED:
                return
            update = await self._snapshot_if_needed(item) if isinstance(item, Signal) else item
            if update is not None:
                self._progress.take(update)
                yield update

    async def _snapshot_if_needed(self, signal: Signal) -> RunView | None:
        self._stale = self._stale or signal is Signal.LOST
        self._pause = min(2 * self._pause, LAST_PAUSE)
        try:
            view = await self._ask()
        except UnavailableError as err:
            log.info("the run tracker cannot be asked, will be again", reason=str(err))
            return None
        # What came meanwhile may tell the same, and tells more.
        if not self._stale and not (self._subscription.is_empty and self._progress.lacks(view)):
            return None
        self._stale = False
        return view


def to_sse(update: RunView | LiveEvent) -> ServerSentEvent:
    """Return an update as it is sent: its kind, and its JSON on one line. How the run was asked for is left out."""
    kind = SNAPSHOT if isinstance(update, RunView) else update.kind
    told = update.model_copy(update={"command": None}) if isinstance(update, RunQueued | RunStarted) else update
    return ServerSentEvent(event=kind, raw_data=told.to_json().decode())
