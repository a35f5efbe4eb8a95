"""What flows along the edges of a workflow: small typed values; images only by reference."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shared.contracts.base import Contract
from shared.contracts.nesting import too_deep

MAX_DEPTH = 64  # records within records, of which each is two levels of JSON; readers of JSON stop at 200
MAX_PICTURE_BYTES = 25 * 1024 * 1024  # the largest file that is taken


class ValueType(StrEnum):
    """The types that handles have. An edge may join two handles of the same type; `any` accepts all."""

    TEXT = "text"
    IMAGE = "image"
    RECORD = "record"
    ANY = "any"


class AssetRef(Contract):
    """Where an image is kept, and what is known of it without opening it.

    `key` is its place in the asset store, made from the SHA-256 of its bytes; `size` is in bytes;
    `width` and `height` are pixels of the upright picture (EXIF orientation applied).
    """

    key: str
    media_type: str
    size: int = Field(ge=0)
    width: int = Field(gt=0)
    height: int = Field(gt=0)


class TextValue(Contract):
    """A text."""

    type: Literal["text"] = "text"
    text: str


class ImageValue(Contract):
    """A picture, by reference."""

    type: Literal["image"] = "image"
    asset: AssetRef


class RecordValue(Contract):
    """Named values: what a `request_inputs` node was given, or what a `response` node collected."""

    type: Literal["record"] = "record"
    fields: dict[str, "Value"]

    @model_validator(mode="after")
    def _refuse_too_deep(self) -> Self:
        if self.depth > MAX_DEPTH:
            raise too_deep(MAX_DEPTH)
        return self

    @property
    def depth(self) -> int:
        """How many records are within each other, this one counted."""
        return 1 + max((value.depth for value in self.fields.values() if isinstance(value, RecordValue)), default=0)


Value = Annotated[TextValue | ImageValue | RecordValue, Field(discriminator="type")]

RecordValue.model_rebuild()
