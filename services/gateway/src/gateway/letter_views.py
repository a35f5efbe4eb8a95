"""What goes in and out of the HTTP API about dead letters."""

from typing import Self

from pydantic import ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from gateway.domain.letters import Wanted
from gateway.views import RequestBody
from shared.contracts.cursors import MAX_CURSOR_LENGTH
from shared.contracts.dead_letters import MAX_LETTERS, DeadLetterCursor, DeadLetterFilter, LetterId

_CURSOR = Field(
    default=None, min_length=1, max_length=MAX_CURSOR_LENGTH, description="`nextCursor` of the answer before"
)


class DeadLetterQuery(DeadLetterFilter):
    """Which dead letters to list, which page of them, and whether with their bodies."""

    limit: int = Field(default=50, ge=1, le=MAX_LETTERS, description="how many at most")
    cursor: str | None = _CURSOR
    bodies: bool = Field(default=False, description="with bodies, headers and addresses; as many as fit into 8 MiB")

    def wanted(self) -> Wanted:
        """Return which letters are meant; raise `invalid_cursor`."""
        return _wanted(self, None, self.cursor)


class LetterSelection(RequestBody):
    """Which dead letters to treat: those with these `ids`, those that meet the `filter`, or `all` that there are."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"filter": {"nodeType": "llm", "code": "worker_crashed"}, "limit": 20}]}
    )

    ids: tuple[LetterId, ...] | None = Field(default=None, min_length=1, max_length=MAX_LETTERS)
    filter_: DeadLetterFilter | None = Field(default=None, alias="filter")
    all_: bool = Field(default=False, alias="all")
    limit: int = Field(default=MAX_LETTERS, ge=1, le=MAX_LETTERS, description="how many at most")
    cursor: str | None = _CURSOR

    @model_validator(mode="after")
    def _refuse_ambiguity(self) -> Self:
        if [self.ids is not None, self.filter_ is not None, self.all_].count(True) != 1:
            raise PydanticCustomError("ambiguous_selection", "say one of ids, filter, and all: true")
        return self

    def wanted(self) -> Wanted:
        """Return which letters are meant; raise `invalid_cursor`."""
        return _wanted(self.filter_ or DeadLetterFilter(), self.ids, self.cursor)


class ReplayLetters(LetterSelection):
    """Which dead letters to replay; `params` replace those of their jobs, name by name."""

    params: dict[str, JsonValue] = {}


def _wanted(criteria: DeadLetterFilter, ids: tuple[str, ...] | None, cursor: str | None) -> Wanted:
    after = DeadLetterCursor.from_text(cursor) if cursor else None
    return Wanted(criteria, frozenset(ids) if ids is not None else None, after)
