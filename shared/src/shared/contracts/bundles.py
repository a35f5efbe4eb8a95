"""Bundles: what is told of nodes together is one message on the broker, and not one for each event.

A bundle is lines of JSON: first an index, then each event on a line of its own. The index holds for each event its
message id, its kind, its run's id and its node's type, in that order, so that who needs few of them reads only those.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple
from uuid import UUID, uuid4

from pydantic import Field, TypeAdapter, ValidationError

from shared.contracts.envelope import NodeMessage
from shared.contracts.events import AnyEvent, read_event

MAX_EVENTS = 500
MAX_BYTES = 1024 * 1024  # of events; one that is larger has a bundle of its own


class Entry(NamedTuple):
    """What the index tells of an event."""

    message_id: str
    kind: str
    run_id: UUID
    node_type: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """Events on their way: `body` is what the broker is given of `count` of them."""

    content_type: ClassVar[str] = "application/jsonl"

    message_id: str
    body: bytes
    count: int

    @classmethod
    def kind_name(cls) -> str:
        """Return the stable name of this kind of message."""
        return "events"


_Index = Annotated[list[Entry], Field(min_length=1)]
_read_index = TypeAdapter[list[Entry]](_Index).validate_json


def bundled(events: Iterable[NodeMessage]) -> Iterator[Bundle]:
    """Yield bundles of events, which keep their order."""
    taken: list[NodeMessage] = []
    lines: list[bytes] = []
    size = 0
    for event in events:
        line = event.to_json()
        if taken and (len(taken) == MAX_EVENTS or size + len(line) > MAX_BYTES):
            yield _bundle(taken, lines)
            taken, lines, size = [], [], 0
        taken.append(event)
        lines.append(line)
        size += len(line)
    if taken:
        yield _bundle(taken, lines)


def _bundle(events: Sequence[NodeMessage], lines: Iterable[bytes]) -> Bundle:
    index = [(event.message_id, event.kind_name(), str(event.run_id), event.node_type) for event in events]
    return Bundle(uuid4().hex, b"\n".join([json.dumps(index).encode(), *lines]), len(events))


def unbundle(body: bytes) -> list[tuple[Entry, bytes]]:
    """Return the events of a bundle, as JSON, each with what the index tells of it; raise ValueError."""
    index, *lines = body.split(b"\n")
    return list(zip(_read_index(index), lines, strict=True))


@dataclass(frozen=True, slots=True)
class Told:
    """The events that one message tells; `unreadable` is how many more there are, which cannot be read."""

    message_id: str
    events: Sequence[AnyEvent]
    unreadable: int = 0


def read_told(body: bytes) -> Told:
    """Return what a message tells, be it a bundle or a single event; raise ValueError where it tells nothing."""
    if body.startswith(b"{"):
        event = read_event(body)
        return Told(event.message_id, [event])
    entries = unbundle(body)
    events = [event for _, line in entries if (event := _readable(line))]
    return Told(entries[0][0].message_id, events, unreadable=len(entries) - len(events))


def _readable(line: bytes) -> AnyEvent | None:
    try:
        return read_event(line)
    except ValidationError:
        return None
