"""From what a server sends to a reply: the pieces of a stream, or a whole answer, gathered."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, NoReturn, cast

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from llm_worker.domain.failures import ModelErrorCode
from llm_worker.domain.model import ModelError, ModelReply, ModelRequest
from llm_worker.domain.provider import Provider, printable_address
from llm_worker.prices import list_price
from shared.contracts.events import Usage

MAX_REPLY_CHARACTERS = 1_000_000  # far above the cap on output tokens, which a broken server may not keep
DETAIL_CHARACTERS = 300


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Message(_Part):
    content: str | None = None
    refusal: str | None = None


class _Choice(_Part):
    delta: _Message | None = None
    message: _Message | None = None
    finish_reason: str | None = None


class _Piece(_Part):
    # An answer that was paid for is not thrown away because of odd words beside it.
    id: Any = None
    model: Any = None
    choices: tuple[_Choice, ...] | None = None
    usage: Any = None


_read_piece = TypeAdapter(_Piece).validate_python


class Answer:
    """The answer to a call, as far as it has come."""

    def __init__(self, request: ModelRequest, provider: Provider) -> None:
        self._request = request
        self._provider = provider
        self._texts: list[str] = []
        self._length = 0
        self._refusal = ""
        self._finish_reason: str | None = None
        self._model: str | None = None
        self._id: str | None = None
        self._used: Mapping[str, Any] | None = None

    @property
    def begun(self) -> bool:
        """Whether the model has said anything."""
        return bool(self._texts or self._refusal)

    def add(self, data: object) -> str:
        """Take the next piece of a stream, or a whole answer, and return the text in it; raise ModelError."""
        try:
            piece = _read_piece(data)
        except ValidationError as err:
            raise self.unreadable() from err
        self._id, self._model = _text(piece.id) or self._id, _text(piece.model) or self._model
        self._used = _mapping(piece.usage) or self._used
        return "".join(self._take(choice) for choice in (piece.choices or ())[:1])

    def reply(self) -> ModelReply:
        """Return the complete answer; raise ModelError if it is none, or was cut off."""
        self._check_finish()
        text = "".join(self._texts)
        if not text:
            self._fail_without_text()
        return ModelReply(
            text=text,
            usage=self.usage() or Usage(model=self._model or self._request.model),
            finish_reason=self._finish_reason,
            response_id=self._id,
        )

    def usage(self) -> Usage | None:
        """Return what the call used, if the server has said so; its cost as the server tells it, else by list price."""
        if self._used is None:
            return None
        model, traits = self._model or self._request.model, self._provider.traits
        sent, written = _tokens(self._used, ("prompt_tokens",)), _tokens(self._used, ("completion_tokens",))
        cached = _tokens(self._used, traits.cached_tokens)
        cost = _dollars(self._used, traits.cost)
        if cost is None:
            cost = list_price(
                model, self._provider.base_url, input_tokens=sent, output_tokens=written, cached_tokens=cached
            )
        return Usage(model=model, input_tokens=sent, cached_tokens=cached, output_tokens=written, cost=cost)

    def unreadable(self) -> ModelError:
        """Return the error of an answer that is none; what it cost nobody knows."""
        message = f"the answer of {printable_address(self._provider.base_url)} is not a chat completion"
        return self._failed(ModelErrorCode.INVALID_OUTPUT, message, retryable=True)

    def _take(self, choice: _Choice) -> str:
        self._finish_reason = choice.finish_reason or self._finish_reason
        said = choice.delta or choice.message
        if said is None:
            return ""
        self._refusal += said.refusal or ""
        if not said.content:
            return ""
        self._length += len(said.content)
        if self._length > MAX_REPLY_CHARACTERS:
            message = f"the answer has more than {MAX_REPLY_CHARACTERS:,} characters"
            raise self._failed(ModelErrorCode.INVALID_OUTPUT, message, retryable=False)
        self._texts.append(said.content)
        return said.content

    def _check_finish(self) -> None:
        if self._refusal or self._finish_reason == "content_filter":
            reason = self._refusal or "the provider's content filter stopped the answer"
            raise self._failed(ModelErrorCode.REFUSED, reason[:DETAIL_CHARACTERS], retryable=False)
        if self._finish_reason == "error":  # OpenRouter, whose own server failed
            raise self._failed(ModelErrorCode.UNAVAILABLE, "the model failed while it answered", retryable=True)
        if self._finish_reason is None and self.begun and self._provider.traits.must_finish:
            message = "the answer ended without a finish reason: it was cut off"
            raise self._failed(ModelErrorCode.INCOMPLETE, message, retryable=True)

    def _fail_without_text(self) -> NoReturn:
        if self._finish_reason == "length":
            message = f"all {self._request.max_output_tokens} output tokens were used before any text came"
            raise self._failed(ModelErrorCode.INVALID_OUTPUT, message, retryable=False)
        raise self._failed(ModelErrorCode.INVALID_OUTPUT, "the answer has no text", retryable=True)

    def _failed(self, code: ModelErrorCode, message: str, *, retryable: bool) -> ModelError:
        """Return an error after the call was carried out: what it cost is known, or else ambiguous."""
        usage = self.usage()
        return ModelError(code, message, retryable=retryable, usage=usage, ambiguous=usage is None)


def _mapping(value: Any) -> Mapping[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _find(used: Mapping[str, Any], path: Sequence[str]) -> Any:
    """Return what is at a path; None where there is nothing, or no path."""
    value: Any = used if path else None
    for step in path:
        value = cast("dict[str, Any]", value).get(step) if isinstance(value, dict) else None
    return value


def _tokens(used: Mapping[str, Any], path: Sequence[str]) -> int | None:
    value = _find(used, path)
    return value if isinstance(value, int) and value >= 0 else None


def _dollars(used: Mapping[str, Any], path: Sequence[str]) -> float | None:
    try:
        value = float(_find(used, path))
    except (TypeError, ValueError):
        return None
    return value if isfinite(value) and value >= 0 else None
