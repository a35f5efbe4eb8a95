"""The client of OpenAI-compatible model servers; the only module that imports openai."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Annotated, Any

from openai import APIConnectionError, APIStatusError, AsyncOpenAI, DefaultAsyncHttpxClient, omit
from openai.types.chat import ChatCompletionContentPartParam, ChatCompletionMessageParam
from pydantic import (
    BaseModel,
    Field,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from llm_worker.domain.model import ModelError, ModelErrorCode, ModelReply, ModelRequest
from llm_worker.domain.provider import is_loopback, output_limit_field, printable_address
from llm_worker.prices import list_price
from shared.contracts.events import Usage

_DETAIL_CHARACTERS = 300
_SHORTEST_KEY = 8
_REFUSAL_CODES = frozenset({"content_filter", "content_policy_violation"})

# What a status means, and whether the same call may succeed later; 5xx and the rest are in _classify.
_BY_STATUS: Mapping[int, tuple[ModelErrorCode, bool]] = {
    HTTPStatus.UNAUTHORIZED: (ModelErrorCode.AUTH, False),
    HTTPStatus.FORBIDDEN: (ModelErrorCode.AUTH, False),
    HTTPStatus.NOT_FOUND: (ModelErrorCode.NOT_FOUND, False),
    HTTPStatus.REQUEST_TIMEOUT: (ModelErrorCode.TIMEOUT, True),
    HTTPStatus.CONFLICT: (ModelErrorCode.UNAVAILABLE, True),
    HTTPStatus.TOO_MANY_REQUESTS: (ModelErrorCode.RATE_LIMITED, True),
}


class _ProviderError(BaseModel):
    code: str | int | None = None
    message: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_text(cls, value: Any) -> Any:
        # Ollama gives the message alone.
        return {"message": value} if isinstance(value, str) else value


class _ErrorBody(BaseModel):
    error: _ProviderError


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


def _none_if_odd(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    # An answer that was paid for is not thrown away because of what is said about its price.
    try:
        return read(value)
    except ValidationError:
        return None


class _PromptDetails(BaseModel):
    cached_tokens: int | None = None


class _Usage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: Annotated[_PromptDetails | None, WrapValidator(_none_if_odd)] = None
    cost: Annotated[Annotated[float, Field(ge=0, allow_inf_nan=False)] | None, WrapValidator(_none_if_odd)] = None


class _Completion(BaseModel):
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: _ProviderError | None = None


# Gemini's endpoint wraps its error in an array.
_ERROR_BODY: TypeAdapter[_ErrorBody | list[_ErrorBody]] = TypeAdapter(_ErrorBody | list[_ErrorBody])


class ModelClient:
    """Calls Chat Completions of one server, one attempt per call.

    `base_url` ends in the version part (`http://127.0.0.1:8089/v1`); `api_key` is any non-empty text
    where the server wants none; `timeout` is in seconds and bounds a whole call, from connecting to the
    last byte. Every failure is a ModelError; a cancelled call closes its connection.
    """

    def __init__(self, *, base_url: str, api_key: str, timeout: float) -> None:
        self._base_url = base_url
        self._address = printable_address(base_url)
        self._api_key = api_key
        self._timeout = timeout
        self._output_limit = output_limit_field(base_url)
        self._openai = AsyncOpenAI(
            base_url=base_url,
            api_key=api_key,
            max_retries=0,
            timeout=None,
            http_client=DefaultAsyncHttpxClient(trust_env=not is_loopback(base_url)),
        )

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Return the reply to a request, or raise ModelError."""
        try:
            async with asyncio.timeout(self._timeout):
                body = await self._post(request)
        except TimeoutError as err:
            raise self._timed_out() from err
        except APIStatusError as err:
            raise self._status_error(err) from err
        except APIConnectionError as err:
            raise self._unreachable(err) from err
        return self._read(body, request)

    async def close(self) -> None:
        """Close the connections that are kept open."""
        await self._openai.close()

    async def _post(self, request: ModelRequest) -> str:
        newer_field = self._output_limit == "max_completion_tokens"
        response = await self._openai.chat.completions.with_raw_response.create(
            model=request.model,
            messages=_messages(request),
            max_completion_tokens=request.max_output_tokens if newer_field else omit,
            max_tokens=omit if newer_field else request.max_output_tokens,
            temperature=omit if request.temperature is None else request.temperature,
        )
        return response.text

    def _read(self, body: str, request: ModelRequest) -> ModelReply:
        try:
            completion = _Completion.model_validate_json(body)
        except ValidationError as err:
            message = f"the answer of {self._address} is not a chat completion"
            raise ModelError(ModelErrorCode.INVALID_OUTPUT, message, retryable=True) from err
        if completion.error is not None:
            raise self._error_inside_200(completion.error)
        model = completion.model or request.model
        return _reply(completion, request, self._usage(model, completion.usage) if completion.usage else None)

    def _usage(self, model: str, used: _Usage) -> Usage:
        """Return what a call used; its cost as the provider tells it, else by list price, else unknown."""
        cached = used.prompt_tokens_details.cached_tokens if used.prompt_tokens_details else None
        cost = used.cost
        if cost is None:
            cost = list_price(
                model,
                self._base_url,
                input_tokens=used.prompt_tokens,
                output_tokens=used.completion_tokens,
                cached_tokens=cached,
            )
        return Usage(model=model, input_tokens=used.prompt_tokens, output_tokens=used.completion_tokens, cost=cost)

    def _error_inside_200(self, error: _ProviderError) -> ModelError:
        status = error.code if isinstance(error.code, int) else HTTPStatus.BAD_GATEWAY
        return self._error_for(status, error, retry_after=None)

    def _status_error(self, err: APIStatusError) -> ModelError:
        wait = retry_after_seconds(err.response.headers, datetime.now(UTC))
        return self._error_for(err.status_code, _provider_error(err.response.text), retry_after=wait)

    def _error_for(self, status: int, error: _ProviderError, *, retry_after: float | None) -> ModelError:
        code, retryable = _classify(status, str(error.code))
        message = f"{self._address} answered {status}"
        # A rejected key may be echoed in the provider's words, in part and in a form not known here.
        if error.message and code is not ModelErrorCode.AUTH:
            detail = self._without_key(error.message)[:_DETAIL_CHARACTERS]
            message = f"{message}: {detail}"
        return ModelError(code, message, retryable=retryable, retry_after=retry_after)

    def _without_key(self, text: str) -> str:
        # What is shorter is a placeholder for servers that want no key, and may be a word of the text.
        return text.replace(self._api_key, "***") if len(self._api_key) >= _SHORTEST_KEY else text

    def _timed_out(self) -> ModelError:
        message = f"{self._address} gave no complete answer within {self._timeout:g} s"
        return ModelError(ModelErrorCode.TIMEOUT, message, retryable=True)

    def _unreachable(self, err: APIConnectionError) -> ModelError:
        reason = f"{type(err.__cause__).__name__}: {err.__cause__}"
        message = (
            f"no answer from the model server at {self._address} ({reason}) "
            "-> check that it runs and that the base URL is right"
        )
        return ModelError(ModelErrorCode.UNAVAILABLE, message, retryable=True)


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the wait in seconds that a Retry-After header asks for, as a number or an HTTP date.

    None where there is none that can be read; a date in the past is a wait of 0 (RFC 9110, 10.2.3).
    """
    value = headers.get("retry-after", "").strip()
    if value.replace(".", "", 1).isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())


def _messages(request: ModelRequest) -> list[ChatCompletionMessageParam]:
    messages: list[ChatCompletionMessageParam] = []
    if request.system_prompt:
        messages.append({"role": "system", "content": request.system_prompt})
    messages.append({"role": "user", "content": _user_content(request)})
    return messages


def _user_content(request: ModelRequest) -> str | list[ChatCompletionContentPartParam]:
    if not request.images:
        return request.user_message
    text: ChatCompletionContentPartParam = {"type": "text", "text": request.user_message}
    images: list[ChatCompletionContentPartParam] = [
        {"type": "image_url", "image_url": {"url": image}} for image in request.images
    ]
    return [text, *images]


def _reply(completion: _Completion, request: ModelRequest, usage: Usage | None) -> ModelReply:
    if not completion.choices:
        raise ModelError(ModelErrorCode.INVALID_OUTPUT, "the answer has no choices", retryable=True, usage=usage)
    choice = completion.choices[0]
    if choice.message.refusal or choice.finish_reason == "content_filter":
        reason = choice.message.refusal or "the provider's content filter stopped the answer"
        raise ModelError(ModelErrorCode.REFUSED, reason[:_DETAIL_CHARACTERS], retryable=False, usage=usage)
    return ModelReply(
        text=_text(choice, request, usage),
        usage=usage or Usage(model=completion.model or request.model),
        finish_reason=choice.finish_reason,
    )


def _text(choice: _Choice, request: ModelRequest, usage: Usage | None) -> str:
    if choice.message.content:
        return choice.message.content
    if choice.finish_reason == "length":
        message = f"all {request.max_output_tokens} output tokens were used before any text came"
        raise ModelError(ModelErrorCode.INVALID_OUTPUT, message, retryable=False, usage=usage)
    raise ModelError(ModelErrorCode.INVALID_OUTPUT, "the answer has no text", retryable=True, usage=usage)


def _provider_error(body: str) -> _ProviderError:
    try:
        read = _ERROR_BODY.validate_json(body)
    except ValidationError:
        return _ProviderError()
    bodies = read if isinstance(read, list) else [read]
    return bodies[0].error if bodies else _ProviderError()


def _classify(status: int, provider_code: str) -> tuple[ModelErrorCode, bool]:
    """Return the code of an HTTP error, and whether the same call may succeed later."""
    if provider_code in _REFUSAL_CODES:
        return ModelErrorCode.REFUSED, False
    if provider_code == "insufficient_quota":
        return ModelErrorCode.RATE_LIMITED, False
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ModelErrorCode.UNAVAILABLE, True
    return _BY_STATUS.get(status, (ModelErrorCode.BAD_REQUEST, False))
