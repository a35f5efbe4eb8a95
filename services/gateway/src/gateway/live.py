"""The events of all runs as they happen, handed to whoever in this process watches one of them."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Generator
from contextlib import contextmanager
from enum import Enum, auto
from uuid import UUID

from pydantic import ValidationError
from structlog import get_logger

from shared.contracts.events import LiveEvent, read_live_event

MAX_BUFFER = 1_000  # events per watcher

log = get_logger(__name__)


class Signal(Enum):
    """What a watcher gets when it gets no event."""

    IDLE = auto()
    LOST = auto()  # events may be missing from here on
    CLOSED = auto()


class Subscription:
    """The events of one run, in order. One that is not read in time loses what it holds, and is told so."""

    def __init__(self) -> None:
        self._buffer: deque[LiveEvent | Signal] = deque()
        self._filled = asyncio.Event()

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be read."""
        return not self._buffer

    def offer(self, item: LiveEvent | Signal) -> None:
        """Take an event; never waits."""
        if len(self._buffer) >= MAX_BUFFER:
            self.restart(Signal.LOST)
        self._buffer.append(item)
        self._filled.set()

    def restart(self, signal: Signal) -> None:
        """Replace all that waits by a signal."""
        self._buffer.clear()
        self._buffer.append(signal)
        self._filled.set()

    async def next(self, timeout: float) -> LiveEvent | Signal:  # noqa: ASYNC109 - idleness is an answer, not an error
        """Return what is next; `Signal.IDLE` if nothing comes for `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._filled.wait()
        except TimeoutError:
            return Signal.IDLE
        item = self._buffer.popleft()
        if not self._buffer:
            self._filled.clear()
        return item


class LiveEvents:
    """Hands each event to the watchers of its run."""

    def __init__(self) -> None:
        self._subscriptions: dict[UUID, set[Subscription]] = defaultdict(set)
        self._closed = False

    @contextmanager
    def subscribe(self, run_id: UUID) -> Generator[Subscription]:
        """Yield the events of a run from now on."""
        subscription = Subscription()
        self._subscriptions[run_id].add(subscription)
        if self._closed:
            subscription.restart(Signal.CLOSED)
        try:
            yield subscription
        finally:
            self._subscriptions[run_id].discard(subscription)
            if not self._subscriptions[run_id]:
                del self._subscriptions[run_id]

    def watchers(self) -> int:
        """Return how many subscriptions there are."""
        return sum(map(len, self._subscriptions.values()))

    def close(self) -> None:
        """Tell all watchers, also those to come, that it is over."""
        self._closed = True
        self._tell_all(Signal.CLOSED)

    def receive(self, run_id: UUID, body: bytes) -> None:
        """Hand an event to those who watch its run."""
        subscriptions = self._subscriptions.get(run_id)
        if not subscriptions:
            return
        try:
            event = read_live_event(body)
        except ValidationError:
            log.warning("unreadable event", run_id=str(run_id))
            return
        for subscription in subscriptions:
            subscription.offer(event)

    def mark_gap(self) -> None:
        """Tell all watchers that events may be missing."""
        self._tell_all(Signal.LOST)

    def _tell_all(self, signal: Signal) -> None:
        for subscriptions in self._subscriptions.values():
            for subscription in subscriptions:
                subscription.restart(signal)
