"""How deeply JSON may be nested: what is read at one place must be readable within other messages at all others."""

from typing import Annotated, cast

from pydantic import AfterValidator, JsonValue
from pydantic_core import PydanticCustomError

MAX_LEVELS = 64  # of objects and arrays within each other; pydantic reads no more than 200


def is_too_deep(value: object) -> bool:
    """Tell whether parsed JSON has more than `MAX_LEVELS` levels."""
    level = [value]
    for _ in range(MAX_LEVELS + 1):
        level = [
            part
            for item in level
            if isinstance(item, dict | list)
            for part in (cast("dict[str, object]", item).values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True


def too_deep(limit: int = MAX_LEVELS) -> PydanticCustomError:
    """Return the error of what is nested more than so many levels deep."""
    return PydanticCustomError("too_deep", "this may be nested {limit} levels deep at most", {"limit": limit})


def _refuse_too_deep(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if is_too_deep(value):
        raise too_deep()
    return value


JsonObject = Annotated[dict[str, JsonValue], AfterValidator(_refuse_too_deep)]
