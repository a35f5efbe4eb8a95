"""Where a page ended: typed between services, a text without meaning for clients of the HTTP API."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, ValidationError
from pydantic_core import PydanticCustomError

from shared.contracts.base import Contract
from shared.contracts.errors import invalid

MAX_CURSOR_LENGTH = 1_000
MAX_POSITION = 2**31 - 1
_YEARS = range(1900, 3000)


def _in_utc(at: datetime) -> datetime:
    if at.year not in _YEARS:  # so that neither its zone nor an added period leads out of what a datetime can hold
        raise PydanticCustomError("moment_out_of_range", "this is no moment of the years 1900 to 2999")
    return at.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class Cursor(Contract):
    """Base of cursors: the place of the last item of a page."""

    def to_text(self) -> str:
        """Return the cursor as clients get it."""
        return urlsafe_b64encode(self.to_json()).decode().rstrip("=")

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Return the cursor that a client gives back; raise InvalidInputError `invalid_cursor`."""
        try:
            return cls.model_validate_json(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        except (ValueError, ValidationError) as err:
            raise invalid(
                "invalid_cursor",
                "the cursor is none that was given out for this list",
                where="cursor",
                fix="give back `nextCursor` as it came, or leave it out to begin at the first page",
            ) from err


class RunCursor(Cursor):
    """A place in a list of runs, newest first."""

    created_at: Moment
    run_id: UUID


class NodeCursor(Cursor):
    """A place in the list of a run's nodes, in the order of the workflow; `position` is None where it is not known."""

    position: int | None = Field(default=None, ge=0, le=MAX_POSITION)
    node_id: str
