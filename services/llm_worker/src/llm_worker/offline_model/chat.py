"""What the stand-in accepts: the part of OpenAI's Chat Completions request that it understands."""

import base64
import binascii
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from shared.contracts.errors import invalid

_ANY_OBJECT: dict[str, Any] = {"type": "object", "properties": {"answer": {"type": "string"}}}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class TextPart(_Part):
    """A piece of text in a message."""

    type: Literal["text"]
    text: str


class ImageUrl(_Part):
    """Where an image is; only data URIs can be read here."""

    url: str
    detail: Literal["auto", "low", "high"] = "auto"


class ImagePart(_Part):
    """A picture in a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


def _as_parts(content: Any) -> Any:
    """Bring the shorthands, a plain text and null, into the form that has parts."""
    if content is None:
        return []
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _as_list(value: Any) -> Any:
    """Bring the shorthands of `stop`, one text and null, into the form that is a list."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else value


class Message(_Part):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[list[Part], BeforeValidator(_as_parts)] = Field(default_factory=list[Part])

    @property
    def text(self) -> str:
        """The message's text parts, as paragraphs."""
        return "\n\n".join(part.text for part in self.content if isinstance(part, TextPart))

    @property
    def image_urls(self) -> Iterator[str]:
        """The URLs of the message's pictures, in order."""
        return (part.image_url.url for part in self.content if isinstance(part, ImagePart))


class StreamOptions(_Part):
    """How a streamed answer is to look."""

    include_usage: bool = False


class NamedSchema(_Part):
    """The JSON Schema that an answer is to fit."""

    name: str = Field(min_length=1)
    definition: dict[str, Any] = Field(default_factory=dict[str, Any], alias="schema")


class ResponseFormat(_Part):
    """The form of the answer: a text, any JSON object, or JSON that fits a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None

    @model_validator(mode="after")
    def _has_schema(self) -> Self:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("json_schema is missing")
        return self

    @property
    def schema_to_fit(self) -> dict[str, Any] | None:
        """The schema of the answer; that of any object for `json_object`, None for a text."""
        if self.type == "text":
            return None
        return self.json_schema.definition if self.json_schema else _ANY_OBJECT


class ChatRequest(_Part):
    """A Chat Completions request.

    Sampling parameters are accepted and change nothing, since the answer is measured. Several choices are refused.
    """

    model: str = Field(min_length=1)
    messages: list[Message] = Field(min_length=1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    n: Literal[1] | None = None
    seed: int | None = None
    stop: Annotated[list[str], BeforeValidator(_as_list)] = Field(default_factory=list[str], max_length=16)
    response_format: ResponseFormat | None = None

    @property
    def output_limit(self) -> int | None:
        """The cap on output tokens, None for no cap."""
        limits = [limit for limit in (self.max_tokens, self.max_completion_tokens) if limit is not None]
        return min(limits, default=None)

    @property
    def schema_to_fit(self) -> dict[str, Any] | None:
        """The JSON Schema of the answer, None for a text."""
        return self.response_format.schema_to_fit if self.response_format else None

    @property
    def includes_usage(self) -> bool:
        """Whether a streamed answer ends in a chunk with the usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def instructions(self) -> str:
        """The text of the system and developer messages."""
        return self._text_of("system", "developer")

    @property
    def question(self) -> str:
        """The text of all user messages."""
        return self._text_of("user")

    @property
    def image_urls(self) -> list[str]:
        """The URLs of all pictures, in order."""
        return [url for message in self.messages for url in message.image_urls]

    def _text_of(self, *roles: str) -> str:
        texts = (message.text for message in self.messages if message.role in roles)
        return "\n\n".join(text for text in texts if text)


def decode_data_uri(url: str) -> bytes:
    """Return the bytes in a base64 data URI of an image.

    Raises InvalidInputError `invalid_image_url` for anything else: nothing is ever fetched.
    """
    head, comma, payload = url.partition(",")
    if not (head.startswith("data:image/") and head.endswith(";base64") and comma):
        raise _bad_url("images are accepted as base64 data URIs only")
    try:
        return base64.b64decode(payload, validate=True)
    except binascii.Error as err:
        raise _bad_url(f"the image's data URI is not valid base64: {err}") from err


def _bad_url(message: str) -> Exception:
    return invalid("invalid_image_url", message, where="messages", fix="send data:image/<type>;base64,<data>")
