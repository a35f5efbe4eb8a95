"""Bundles: what is told of nodes together is one message on the broker, and not one for each event.

A bundle is lines of JSON: first an index, then each event on a line of its own. The index holds for each event its
message id, its kind, its run's id and its node's type, in that order, so that who needs few of them reads only those;
and the headers of the trace that it belongs to, where it belongs to one of its own.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Generic, NamedTuple, TypeVar
from uuid import UUID, uuid4

from pydantic import Field, TypeAdapter, ValidationError

from shared.contracts.envelope import Message, NodeMessage

M = TypeVar("M", bound=Message)

MAX_EVENTS = 500
MAX_BYTES = 1024 * 1024  # of events; one that is larger has a bundle of its own
_NO_TRACES: Mapping[str, Mapping[str, str]] = {}


class Entry(NamedTuple):
    """What the index tells of an event."""

    message_id: str
    kind: str
    run_id: UUID
    node_type: str
    trace: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Bundle:
    """Events on their way: `body` is what the broker is given of `count` of them, the first of the type `first`."""

    content_type: ClassVar[str] = "application/jsonl"

    message_id: str
    body: bytes
    count: int
    first: type[NodeMessage]

    @classmethod
    def kind_name(cls) -> str:
        """Return the stable name of this kind of message."""
        return "events"

    @property
    def correlation_id(self) -> None:
        """None: it is about any runs together."""

    def to_body(self) -> bytes:
        """Return the wire form."""
        return self.body


Publishable = Message | Bundle  # what is one message on the broker

_Index = Annotated[list[Entry], Field(min_length=1)]
_read_index = TypeAdapter[list[Entry]](_Index).validate_json


def bundled(events: Iterable[NodeMessage], traces: Mapping[str, Mapping[str, str]] = _NO_TRACES) -> Iterator[Bundle]:
    """Yield bundles of events, which keep their order; `traces` has headers of their traces, by message id."""
    taken: list[NodeMessage] = []
    lines: list[bytes] = []
    size = 0
    for event in events:
        line = event.to_json()
        if taken and (len(taken) == MAX_EVENTS or size + len(line) > MAX_BYTES):
            yield _bundle(taken, lines, traces)
            taken, lines, size = [], [], 0
        taken.append(event)
        lines.append(line)
        size += len(line)
    if taken:
        yield _bundle(taken, lines, traces)


def _bundle(events: Sequence[NodeMessage], lines: Iterable[bytes], traces: Mapping[str, Mapping[str, str]]) -> Bundle:
    index = [_entry(event, traces) for event in events]
    return Bundle(uuid4().hex, b"\n".join([json.dumps(index).encode(), *lines]), len(events), type(events[0]))


def _entry(event: NodeMessage, traces: Mapping[str, Mapping[str, str]]) -> tuple[object, ...]:
    entry = (event.message_id, event.kind_name(), str(event.run_id), event.node_type)
    return (*entry, trace) if (trace := traces.get(entry[0])) else entry


def unbundle(body: bytes) -> list[tuple[Entry, bytes]]:
    """Return the events of a bundle, as JSON, each with what the index tells of it; raise ValueError."""
    index, *lines = body.split(b"\n")
    return list(zip(_read_index(index), lines, strict=True))


def count_told(body: bytes) -> int:
    """Return how many messages one tells: as many as are in a bundle, else one."""
    return 1 if body.startswith(b"{") else max(1, body.count(b"\n"))


@dataclass(frozen=True, slots=True)
class Told(Generic[M]):
    """The messages that came in one; `unreadable` is how many more there are, which cannot be read.

    `traces` has the headers of their traces, by message id, for those that came with some of their own.
    """

    message_id: str
    messages: Sequence[M]
    unreadable: int = 0
    traces: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])


def telling(read: Callable[[bytes], M]) -> Callable[[bytes], Told[M]]:
    """Return how to read what a message tells, be it a bundle or a single one, by how to read a single one.

    What is returned raises ValueError where a message tells nothing.
    """

    def read_told(body: bytes) -> Told[M]:
        if body.startswith(b"{"):
            message = read(body)
            return Told(message.message_id, [message])
        entries = unbundle(body)
        messages = [message for _, line in entries if (message := _readable(read, line))]
        traces = {entry.message_id: entry.trace for entry, _ in entries if entry.trace}
        return Told(entries[0][0].message_id, messages, len(entries) - len(messages), traces)

    return read_told


def _readable(read: Callable[[bytes], M], line: bytes) -> M | None:
    try:
        return read(line)
    except ValidationError:
        return None
