"""Which dead letters are meant, what is told of them, and what is to be done with one."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Any
from uuid import UUID

from shared.contracts.dead_letters import DeadLetter, DeadLetterCursor, DeadLetterFilter
from shared.contracts.operations import AttemptKey, AttemptStand
from shared.contracts.states import FINAL_RUN_STATUSES, NodeStatus

Attempt = tuple[UUID, str, int]
Stands = Mapping[Attempt, AttemptStand]

_OVER = frozenset({NodeStatus.SUCCESS})


class Step(Enum):
    """What to do with the job of a dead letter."""

    REJOIN = auto()
    RESUME = auto()
    WAIT = auto()
    NOTHING = auto()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters are meant: those with these ids, or all that meet the filter; of these, those behind a cursor."""

    criteria: DeadLetterFilter = field(default_factory=DeadLetterFilter)
    ids: frozenset[str] | None = None
    after: DeadLetterCursor | None = None

    def may_be_in(self, queue: str) -> bool:
        """Tell whether letters in that queue can be meant."""
        return self.criteria.queue in (None, queue)

    def matches(self, letter: DeadLetter) -> bool:
        """Tell whether a letter is meant, by all that is known of it."""
        asked = self.criteria
        return (
            (self.ids is None or letter.id in self.ids)
            and asked.queue in (None, letter.queue)
            and asked.node_type in (None, letter.node_type)
            and (asked.run_id is None or asked.run_id in (letter.run_id, *letter.run_ids))
            and asked.code in (None, letter.code)
            and (asked.since is None or letter.died_at >= asked.since)
            and (asked.error is None or asked.error.casefold() in _told_error(letter).casefold())
        )

    def is_behind(self, letter: DeadLetter) -> bool:
        """Tell whether a letter comes after the cursor."""
        return self.after is None or place(letter) > (self.after.queue, self.after.died_at, self.after.id)


def place(letter: DeadLetter) -> tuple[str, datetime, str]:
    """Return what letters are sorted by."""
    return letter.queue, letter.died_at, letter.id


def cursor_of(letter: DeadLetter) -> DeadLetterCursor:
    """Return the place of a letter."""
    return DeadLetterCursor(queue=letter.queue, died_at=letter.died_at, id=letter.id)


def attempt_of(letter: DeadLetter) -> Attempt | None:
    """Return the attempt that a dead job is of; None for what is no job that can be read."""
    if letter.node_type is None or letter.run_id is None or letter.node_id is None or letter.attempt is None:
        return None
    return letter.run_id, letter.node_id, letter.attempt


def keys_of(letters: Iterable[DeadLetter]) -> list[AttemptKey]:
    """Return the attempts to be asked about, each once."""
    attempts = dict.fromkeys(attempt for letter in letters if (attempt := attempt_of(letter)))
    return [AttemptKey(run_id=run_id, node_id=node_id, attempt=number) for run_id, node_id, number in attempts]


def with_stand(letter: DeadLetter, stands: Stands) -> DeadLetter:
    """Return the letter with what the run tracker knows of its attempt."""
    attempt = attempt_of(letter)
    stand = stands.get(attempt) if attempt else None
    if stand is None:
        return letter
    return letter.model_copy(
        update={
            "code": stand.error.code if stand.error else letter.code,
            "error": stand.error,
            "worker": stand.worker,
            "run_status": stand.run_status,
            "node_status": stand.status,
            "owner": stand.owner,
        }
    )


def next_step(stand: AttemptStand) -> Step:
    """Return what is left to do for an attempt that died."""
    if stand.status in _OVER or stand.latest > stand.attempt:
        return Step.NOTHING
    if stand.run_status in FINAL_RUN_STATUSES:
        return Step.RESUME
    return Step.REJOIN if stand.status is NodeStatus.FAILED else Step.WAIT


def as_text(body: bytes) -> tuple[str, str]:
    """Return a body as text, and its encoding: base64 for what is none."""
    try:
        return body.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), "base64"


def plain(value: Any) -> Any:
    """Return a header's value as JSON can hold it."""
    match value:
        case Mapping():
            return {str(name): plain(item) for name, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        case str() | int() | float() | bool() | None:
            return value
        case bytes():
            return as_text(value)[0]
        case datetime():
            return value.isoformat()
        case Sequence():
            return [plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
        case _:
            return str(value)


def _told_error(letter: DeadLetter) -> str:
    return f"{letter.error.code} {letter.error.message}" if letter.error else letter.reason
