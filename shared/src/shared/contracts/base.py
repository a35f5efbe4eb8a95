"""The one base class of everything that Weft sends or stores as JSON."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

SCHEMA_VERSION = 1


class Contract(BaseModel):
    """A frozen value: camelCase on the wire, snake_case in Python, unknown fields ignored on read."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )

    def to_json(self) -> bytes:
        """Return the wire form, UTF-8 encoded; fields that are None are left out."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()
