"""The newest events of all runs, in the order of the broker's stream: what watchers read, and read again.

Every gateway keeps the same events under the same positions; one that was just started reads them from the stream.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from uuid import UUID

from pydantic import TypeAdapter, ValidationError
from structlog import get_logger

from shared.contracts.base import Contract
from shared.contracts.events import LiveEvent, RunQueued, RunStarted, read_live_event
from shared.contracts.owners import Owner
from shared.messaging.live import StreamedEvent

MAX_EVENTS = 50_000
MAX_BYTES = 32 * 1024 * 1024  # of their bodies
MAX_RUNS = 100_000  # whose workflows are remembered
_TAKEN = frozenset({RunQueued.kind_name(), RunStarted.kind_name()})

log = get_logger(__name__)


Topic = UUID | tuple[UUID, str]


def topic_of(workflow_id: UUID, owner: str | None) -> Topic:
    """Return the topic of a workflow: of all its runs, or of those of one owner, since others may use the same id."""
    return workflow_id if owner is None else (workflow_id, owner)


class _Command(Contract):
    owner: Owner | None = None


class _Taken(Contract):
    workflow_id: UUID | None = None
    command: _Command | None = None


_read_taken = TypeAdapter[_Taken](_Taken).validate_json


@dataclass(frozen=True)
class LoggedEvent:
    """An event, its position, and the topics that it is kept under.

    It is read once, however many watch its run; None if it cannot be read.
    """

    position: int
    run_id: UUID
    body: bytes
    topics: list[Topic] = field(compare=False)

    @cached_property
    def event(self) -> LiveEvent | None:
        """What the event tells."""
        try:
            return read_live_event(self.body)
        except ValidationError:
            log.warning("unreadable event", run_id=str(self.run_id), position=self.position)
            return None


class EventLog:
    """Keeps events up to `MAX_EVENTS` and `MAX_BYTES`, found by their run and by its workflow: their topics.

    An event that is told again, under the same message id, is kept once.
    """

    def __init__(self) -> None:
        self._events: deque[tuple[LoggedEvent, str]] = deque()
        self._by_topic: dict[Topic, deque[LoggedEvent]] = {}
        self._ids: set[str] = set()
        self._workflows: OrderedDict[UUID, tuple[Topic, ...]] = OrderedDict()
        self._bytes = 0
        self._first: int | None = None  # nothing before it is known
        self.newest = -1

    @property
    def start(self) -> int:
        """The position that all that is kept comes after."""
        return self.newest if self._first is None else self._first - 1

    def append(self, told: StreamedEvent) -> tuple[Topic, ...]:
        """Keep an event, and return whom it concerns; nobody, if it was told before."""
        if self._first is None:
            self._first = told.position
        self.newest = told.position
        if told.message_id in self._ids:
            return ()
        if told.kind in _TAKEN:
            self._learn(told)
        topics = self._topics(told.run_id)
        event = LoggedEvent(told.position, told.run_id, told.body, [*topics])
        self._events.append((event, told.message_id))
        self._ids.add(told.message_id)
        self._bytes += len(told.body)
        for topic in topics:
            self._by_topic.setdefault(topic, deque()).append(event)
        self._evict()
        return topics

    def restart(self) -> None:
        """Forget what was before a gap: no one can be told any more that nothing is missing."""
        self._first = None
        while self._events:
            self._drop_oldest()

    def belongs(self, run_id: UUID, workflow_id: UUID, owner: str | None) -> None:
        """Remember a run's workflow and owner, for the events that are to come, and for those that are kept already."""
        topics = {topic_of(workflow_id, None), topic_of(workflow_id, owner)}
        for topic in topics.difference(self._workflows.get(run_id, ())):
            self._keep_under(topic, run_id)
        self._workflows[run_id] = tuple(topics)
        if len(self._workflows) > MAX_RUNS:
            self._workflows.popitem(last=False)

    def covers(self, position: int) -> bool:
        """Tell whether everything after a position is kept."""
        return self._first is not None and self._first - 1 <= position <= self.newest

    def after(self, topic: Topic, position: int) -> list[LoggedEvent]:
        """Return what is kept of a topic after a position, in order."""
        newer: list[LoggedEvent] = []
        for event in reversed(self._by_topic.get(topic, ())):
            if event.position <= position:
                break
            newer.append(event)
        newer.reverse()
        return newer

    def _keep_under(self, topic: Topic, run_id: UUID) -> None:
        """Keep the events of a run under a topic as well, in the order of their positions."""
        missing = [event for event in self._by_topic.get(run_id, ()) if topic not in event.topics]
        if not missing:
            return
        for event in missing:
            event.topics.append(topic)
        events = [*self._by_topic.get(topic, ()), *missing]
        self._by_topic[topic] = deque(sorted(events, key=attrgetter("position")))

    def _learn(self, told: StreamedEvent) -> None:
        try:
            taken = _read_taken(told.body)
        except ValidationError:
            return
        if taken.workflow_id:
            self.belongs(told.run_id, taken.workflow_id, taken.command and taken.command.owner)

    def _topics(self, run_id: UUID) -> tuple[Topic, ...]:
        return run_id, *self._workflows.get(run_id, ())

    def _evict(self) -> None:
        while len(self._events) > MAX_EVENTS or (self._bytes > MAX_BYTES and len(self._events) > 1):
            self._first = self._drop_oldest().position + 1

    def _drop_oldest(self) -> LoggedEvent:
        event, message_id = self._events.popleft()
        self._ids.discard(message_id)
        self._bytes -= len(event.body)
        for topic in event.topics:
            of_topic = self._by_topic[topic]
            of_topic.popleft()
            if not of_topic:
                del self._by_topic[topic]
        return event


def readable(events: list[LoggedEvent]) -> Iterator[tuple[int, LiveEvent]]:
    """Yield those events that can be read, with their positions."""
    for logged in events:
        if logged.event is not None:
            yield logged.position, logged.event
