"""The ids of live events: what a client that comes back says it has been told, to whichever gateway."""

import re
from dataclasses import dataclass

_FORM = re.compile(r"(-1|[0-9]{1,18})(\.end)?")  # -1: before the first one


@dataclass(frozen=True, slots=True)
class EventId:
    """A client was told all up to a position in the stream of events; `ends` means that nothing can follow."""

    position: int
    ends: bool = False

    def __str__(self) -> str:
        return f"{self.position}.end" if self.ends else str(self.position)


def read_event_id(text: str | None) -> EventId | None:
    """Return the id that a client sent; None where it is none of ours, which is no mistake: it is told everything."""
    match = _FORM.fullmatch(text or "")
    return EventId(int(match[1]), ends=match[2] is not None) if match else None
