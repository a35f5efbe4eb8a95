"""What operators are told of dead letters, and what became of those that were replayed or dropped."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, JsonValue

from shared.contracts.base import Contract
from shared.contracts.cursors import Cursor, Moment
from shared.contracts.errors import Problem
from shared.contracts.owners import Owner
from shared.contracts.states import NodeStatus, RunStatus

MAX_LETTERS = 100  # in one answer
MAX_TEXT = 255

LetterId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
_Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]


class DeadLetterFilter(Contract):
    """Which dead letters: those that meet all that is given, else all.

    `queue` is the dead-letter queue. `code` is that of the letter, `error` a text in code or message of its error, in
    upper or lower case. Died at `since` or later.
    """

    queue: _Text | None = None
    node_type: _Text | None = None
    run_id: UUID | None = None
    code: _Text | None = None
    error: _Text | None = None
    since: Moment | None = None

    @property
    def asks_about_errors(self) -> bool:
        """Whether it takes more than the letter itself to tell."""
        return self.code is not None or self.error is not None


class DeadLetterCursor(Cursor):
    """A place in the list of dead letters: by queue, the longest dead first."""

    queue: str
    died_at: Moment
    id: LetterId


class DeadLetter(Contract):
    """A message that was given up. `id` is the same however often it is looked at.

    `reason` is why the broker moved it from the queue `died_in` to its dead-letter `queue` (`rejected`,
    `delivery_limit`, `expired`), `deaths` how often it was moved. `code` is that of the `error` of its attempt, as the
    run tracker knows it, else the reason. `kind` is the message's; one that is not `readable` has no run, and a bundle
    tells of several, `run_ids`. Bytes are those of its body, which with headers and address is only told where it is
    asked for: as text, or in base64 where it is none.
    """

    id: LetterId
    queue: str
    kind: str | None = None
    message_id: str | None = None
    readable: bool = True
    run_id: UUID | None = None
    run_ids: tuple[UUID, ...] = ()
    node_id: str | None = None
    node_type: str | None = None
    attempt: int | None = None
    died_at: datetime
    died_in: str | None = None
    reason: str
    deaths: int = 1
    code: str
    error: Problem | None = None
    worker: str | None = None
    run_status: RunStatus | None = None
    node_status: NodeStatus | None = None
    owner: Owner | None = None
    bytes: int
    exchange: str | None = None
    routing_key: str | None = None
    headers: dict[str, JsonValue] | None = None
    body: str | None = None
    encoding: Literal["utf-8", "base64"] | None = None


class DeadLetterPage(Contract):
    """Dead letters, by queue, the longest dead first; `total` is how many there are of those that were asked for.

    `next_cursor` is for the next page, and missing on the last.
    """

    letters: tuple[DeadLetter, ...]
    total: int
    next_cursor: str | None = None


class LetterOutcome(StrEnum):
    """What became of a dead letter; only those that `failed` are still there.

    Its run goes on with another attempt (`rejoined`) or was taken up in a new run (`resumed`); there was nothing left
    to do (`obsolete`); it went back to where it died (`republished`); it was thrown away (`dropped`).
    """

    REJOINED = "rejoined"
    RESUMED = "resumed"
    OBSOLETE = "obsolete"
    REPUBLISHED = "republished"
    DROPPED = "dropped"
    FAILED = "failed"


class LetterResult(Contract):
    """What became of a dead letter; `resumed_as` is the run that took its run up."""

    id: LetterId
    outcome: LetterOutcome
    run_id: UUID | None = None
    node_id: str | None = None
    resumed_as: UUID | None = None
    problem: Problem | None = None


class LettersReply(Contract):
    """What became of dead letters, one result for each; `left` are still to be done, from `next_cursor` on.

    Those that failed are not among these: they are done again only if they are asked for again.
    """

    results: tuple[LetterResult, ...]
    left: int
    next_cursor: str | None = None
