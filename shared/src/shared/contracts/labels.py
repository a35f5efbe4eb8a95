"""What callers attach to runs, to find them again and to know them by: tags and metadata, both bounded."""

import json
from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue
from pydantic_core import PydanticCustomError

from shared.contracts.nesting import is_too_deep, too_deep

MAX_TAGS = 20
MAX_TAG_LENGTH = 128
MAX_METADATA_BYTES = 16 * 1024  # as JSON, UTF-8 encoded


def _each_once(tags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tags))


def _within_limit(metadata: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if is_too_deep(metadata):
        raise too_deep()
    size = len(json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode(errors="replace"))
    if size > MAX_METADATA_BYTES:
        raise PydanticCustomError(
            "metadata_too_large",
            "metadata may have {limit} bytes as JSON, and these have {size}",
            {"limit": MAX_METADATA_BYTES, "size": size},
        )
    return metadata


Tag = Annotated[str, Field(min_length=1, max_length=MAX_TAG_LENGTH)]
Tags = Annotated[
    tuple[Tag, ...],
    Field(max_length=MAX_TAGS, description="to find runs by; one that is repeated counts once"),
    AfterValidator(_each_once),
]
Metadata = Annotated[
    dict[str, JsonValue],
    Field(description=f"the caller's own notes, kept with the run; {MAX_METADATA_BYTES} bytes of JSON at most"),
    AfterValidator(_within_limit),
]
