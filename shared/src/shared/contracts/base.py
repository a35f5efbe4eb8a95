"""The one base class of everything that Weft sends or stores as JSON."""

import re

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

SCHEMA_VERSION = 1

# An escaped NUL, not the six characters that look like one behind a backslash of their own.
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
_REPLACEMENT = rb"\1\\ufffd"


CONTENT_TYPE = "application/json"  # of the wire form of contracts
# Prompts and pictures are nobody's business, and errors get into logs. For type adapters, which have no base.
QUIET = ConfigDict(hide_input_in_errors=True)


class Contract(BaseModel):
    """A frozen value: camelCase on the wire, snake_case in Python, unknown fields ignored on read.

    Numbers are finite, since JSON knows no others.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        hide_input_in_errors=True,
    )

    def to_json(self) -> bytes:
        """Return the wire form, UTF-8 encoded; fields that are None are left out.

        PostgreSQL keeps no NUL in JSON, and an answer that was paid for is not to be lost by one: it is replaced.
        """
        return without_nul(self.model_dump_json(by_alias=True, exclude_none=True).encode())


def without_nul(json: bytes) -> bytes:
    """Return a JSON text with the replacement character in place of each NUL."""
    return _NUL.sub(_REPLACEMENT, json) if b"\\u0000" in json else json
