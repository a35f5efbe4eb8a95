"""The events of all runs as they happen, for whoever in this process watches a run or a workflow."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Generator
from contextlib import contextmanager
from enum import Enum, auto

from gateway.event_log import EventLog, LoggedEvent, Topic
from shared.messaging.live import StreamedEvent


class Signal(Enum):
    """What a watcher gets when it gets no event."""

    IDLE = auto()
    LOST = auto()  # events are missing before those that follow
    CLOSED = auto()


class Subscription:
    """The events of a run or a workflow after a position, in order, each once.

    They are read from the log: one who is slow holds up nobody, and hears of it when the log has moved on.
    """

    def __init__(self, log: EventLog, topic: Topic, position: int) -> None:
        self._log, self._topic = log, topic
        self._position = position  # all up to here were handed out
        self._pending: deque[LoggedEvent] = deque()
        self._filled = asyncio.Event()
        self._filled.set()
        self._lost = self._closed = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be read."""
        return not self._pending and not self._filled.is_set()

    def read_from(self, position: int) -> None:
        """Go on after that position."""
        self._pending.clear()
        self._position, self._lost = position, False
        self._filled.set()

    def wake(self, position: int) -> None:
        """Say that there is an event to read at that position."""
        if self.is_empty:
            # What the log has dropped meanwhile was of others.
            self._position = max(self._position, position - 1)
        self._filled.set()

    def lose(self) -> None:
        """Say that events are missing."""
        self._lost = True
        self._filled.set()

    def close(self) -> None:
        """Say that it is over."""
        self._closed = True
        self._filled.set()

    async def next(self, timeout: float) -> LoggedEvent | Signal:  # noqa: ASYNC109 - idleness is an answer, not an error
        """Return what is next; `Signal.IDLE` if nothing comes for `timeout` seconds.

        After `Signal.LOST` it is to be said where to go on: `read_from`.
        """
        while not (self._pending or self._closed or self._lost):
            if not await self._was_filled(timeout):
                return Signal.IDLE
            self._filled.clear()
            self._lost = self._lost or self._fell_behind()
            self._pending.extend(self._log.after(self._topic, self._position))
        if self._closed or self._lost:
            return Signal.CLOSED if self._closed else Signal.LOST
        event = self._pending.popleft()
        self._position = event.position
        return event

    def _fell_behind(self) -> bool:
        return self._position < self._log.newest and not self._log.covers(self._position)

    async def _was_filled(self, timeout: float) -> bool:  # noqa: ASYNC109 - as above
        try:
            async with asyncio.timeout(timeout):
                await self._filled.wait()
        except TimeoutError:
            return self._filled.is_set()
        return True


class LiveEvents:
    """Keeps events, and wakes those who watch their runs or workflows."""

    def __init__(self) -> None:
        self.log = EventLog()
        self._subscriptions: dict[Topic, set[Subscription]] = defaultdict(set)
        self._closed = False

    @contextmanager
    def subscribe(self, topic: Topic, position: int) -> Generator[Subscription]:
        """Yield the events of a run or a workflow after a position."""
        subscription = Subscription(self.log, topic, position)
        self._subscriptions[topic].add(subscription)
        if self._closed:
            subscription.close()
        try:
            yield subscription
        finally:
            self._subscriptions[topic].discard(subscription)
            if not self._subscriptions[topic]:
                del self._subscriptions[topic]

    def watchers(self) -> int:
        """Return how many subscriptions there are."""
        return sum(map(len, self._subscriptions.values()))

    def close(self) -> None:
        """Tell all watchers, also those to come, that it is over."""
        self._closed = True
        for subscription in self._all():
            subscription.close()

    def receive(self, told: StreamedEvent) -> None:
        """Keep an event, and wake those whom it concerns."""
        for topic in self.log.append(told):
            for subscription in self._subscriptions.get(topic, ()):
                subscription.wake(told.position)

    def mark_gap(self) -> None:
        """Tell all watchers that events are missing."""
        self.log.restart()
        for subscription in self._all():
            subscription.lose()

    def _all(self) -> list[Subscription]:
        return [subscription for of_topic in self._subscriptions.values() for subscription in of_topic]
