"""The shapes in which servers tell of errors, read into one; pure."""

import re
from typing import Annotated, Any, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from llm_worker.domain.failures import ProviderError

_LOWEST_STATUS, _HIGHEST_STATUS = 400, 599
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s", re.ASCII)


def _text_or_nothing(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) else None


def _parts_or_nothing(value: Any) -> list[Any]:
    parts = cast("list[Any]", value) if isinstance(value, list) else []
    return [part for part in parts if isinstance(part, dict)]


_Word = Annotated[str | None, BeforeValidator(_text_or_nothing)]


class _Detail(BaseModel):
    model_config = ConfigDict(alias_generator=None)

    retry_delay: _Word = Field(default=None, alias="retryDelay")


class _Error(BaseModel):
    code: _Word = None
    type: _Word = None
    status: _Word = None
    message: _Word = None
    details: Annotated[list[_Detail], BeforeValidator(_parts_or_nothing)] = Field(default_factory=list[_Detail])


def _as_error(value: Any) -> Any:
    """Bring what differs into the form of an error: Ollama gives its message alone."""
    return {"message": value} if isinstance(value, str) else value


class _Body(BaseModel):
    error: Annotated[_Error, BeforeValidator(_as_error)]


_BODY: TypeAdapter[_Body | list[_Body]] = TypeAdapter(_Body | list[_Body])  # Gemini wraps its error in an array


def read_error(body: object, *, status: int, retry_after: float | None = None) -> ProviderError | None:
    """Return the error that a JSON body tells, whatever its shape; None where it tells of none.

    `status` is that of the response; one that the body tells, inside a 200 or a stream, counts instead.
    """
    try:
        read = _BODY.validate_python(body)
    except ValidationError:
        return None
    bodies = read if isinstance(read, list) else [read]
    if not bodies:
        return None
    error = bodies[0].error
    told = int(error.code) if error.code and error.code.isdecimal() and len(error.code) == len("500") else 0
    words = (error.code, error.type, error.status)
    return ProviderError(
        status=told if _LOWEST_STATUS <= told <= _HIGHEST_STATUS else status,
        codes=frozenset(word.casefold() for word in words if word),
        message=error.message or "",
        retry_after=_told_wait(error) if retry_after is None else retry_after,
    )


def _told_wait(error: _Error) -> float | None:
    """Return the wait in seconds that Gemini tells in the body, as `34s`, where others have a header."""
    matches = (_SECONDS.fullmatch(detail.retry_delay) for detail in error.details if detail.retry_delay)
    return next((float(match[1]) for match in matches if match), None)
