"""The client of OpenAI-compatible model servers; it and its connections alone import openai."""

import asyncio
import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import httpx2
from openai import APIConnectionError, APIError, APIStatusError, AsyncStream

from llm_worker.answers import DETAIL_CHARACTERS, Answer
from llm_worker.connections import Connections
from llm_worker.domain.error_bodies import read_error
from llm_worker.domain.failures import ModelErrorCode, ProviderError, classify, may_go_on
from llm_worker.domain.model import ModelError, ModelReply, ModelRequest
from llm_worker.domain.provider import Provider, printable_address
from llm_worker.domain.wire import call_body

Tell = Callable[[str], None]

_SHORTEST_KEY = 8

# With these nothing of the call can have reached the server.
_NEVER_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
    httpx2.LocalProtocolError,
)
_NOT_JSON = (json.JSONDecodeError, UnicodeDecodeError, RecursionError)


def tell_nobody(_piece: str) -> None:
    """Let the pieces of an answer pass: only the whole is wanted."""


class ModelClient:
    """Calls Chat Completions of one provider, one attempt per call, as streams.

    Every failure is a ModelError that shows no key; a call that is cancelled closes its connection, so that the server
    can stop.
    """

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._address = printable_address(provider.base_url)
        self._key = provider.api_key.get_secret_value()
        self._connections = Connections(provider)

    async def complete(self, request: ModelRequest, tell: Tell = tell_nobody) -> ModelReply:
        """Return the reply to a request, having told its text piece by piece as it came; raise ModelError."""
        answer = Answer(request, self._provider)
        with self._model_errors(answer):
            async with asyncio.timeout(self._provider.timeout):
                await self._receive(request, answer, tell)
        return answer.reply()

    async def close(self) -> None:
        """Close the connections that are kept open."""
        await self._connections.close()

    async def _receive(self, request: ModelRequest, answer: Answer, tell: Tell) -> None:
        body = call_body(request, self._provider.traits)
        with self._connections.client() as client:
            create: Any = client.chat.completions.with_streaming_response.create
            async with create(**body) as response:
                if not _is_stream(response.headers):
                    # A whole answer, or an error that the status does not tell of.
                    self._take(json.loads(await response.text()), answer, tell)
                    return
                stream: AsyncStream[object] = await response.parse(to=AsyncStream[object])
                async for data in stream:
                    self._take(data, answer, tell)

    def _take(self, data: object, answer: Answer, tell: Tell) -> None:
        if _may_be_error(data) and (error := read_error(data, status=HTTPStatus.BAD_GATEWAY)):
            raise self._inside_answer(error, answer)
        if piece := answer.add(data):
            tell(piece)

    @contextmanager
    def _model_errors(self, answer: Answer) -> Generator[None]:
        """Translate what happens to a call into ModelErrors."""
        try:
            yield
        except TimeoutError as err:
            raise self._timed_out(answer) from err
        except APIStatusError as err:
            raise self._refused(err) from err
        except (APIConnectionError, httpx2.HTTPError) as err:
            raise self._disconnected(err, answer) from err
        except APIError as err:  # in the middle of a stream
            told = read_error({"error": err.body}, status=HTTPStatus.BAD_GATEWAY)
            raise self._inside_answer(told or ProviderError(HTTPStatus.BAD_GATEWAY), answer) from err
        except _NOT_JSON as err:
            raise answer.unreadable() from err

    def _refused(self, err: APIStatusError) -> ModelError:
        """Return the error of a call that was answered with an HTTP error."""
        wait = retry_after_seconds(err.response.headers, datetime.now(UTC))
        told = read_error(_json_or_nothing(err.response.text), status=err.status_code, retry_after=wait)
        error = told or ProviderError(err.status_code, retry_after=wait)
        return self._error_for(error, ambiguous=may_go_on(error))

    def _inside_answer(self, error: ProviderError, answer: Answer) -> ModelError:
        """Return the error of a call whose answer was, or became, an error in spite of the status 200."""
        usage = answer.usage()
        ambiguous = (answer.begun or may_go_on(error)) and usage is None
        model_error = self._error_for(error, ambiguous=ambiguous)
        model_error.usage = usage
        return model_error

    def _error_for(self, error: ProviderError, *, ambiguous: bool) -> ModelError:
        code = classify(error, self._provider.traits.rules)
        message = f"{self._address} answered {error.status}"
        # A rejected key may be echoed in the provider's words, in part and in a form not known here.
        if error.message and code is not ModelErrorCode.AUTH:
            message = f"{message}: {self._without_key(error.message)[:DETAIL_CHARACTERS]}"
        return ModelError(code, message, retryable=code.passes, retry_after=error.retry_after, ambiguous=ambiguous)

    def _without_key(self, text: str) -> str:
        # What is shorter is a placeholder for servers that want no key, and may be a word of the text.
        return text.replace(self._key, "***") if len(self._key) >= _SHORTEST_KEY else text

    def _timed_out(self, answer: Answer) -> ModelError:
        message = f"{self._address} gave no complete answer within {self._provider.timeout:g} s"
        usage = answer.usage()
        return ModelError(ModelErrorCode.TIMEOUT, message, retryable=True, usage=usage, ambiguous=usage is None)

    def _disconnected(self, err: Exception, answer: Answer) -> ModelError:
        cause = err.__cause__ if isinstance(err, APIConnectionError) and err.__cause__ else err
        reason = self._without_key(f"{type(cause).__name__}: {cause}")
        if isinstance(cause, _NEVER_SENT):
            message = (
                f"no answer from the model server at {self._address} ({reason}) "
                "-> check that it runs and that the base URL is right"
            )
            return ModelError(ModelErrorCode.UNAVAILABLE, message, retryable=True)
        code = ModelErrorCode.INCOMPLETE if answer.begun else ModelErrorCode.UNAVAILABLE
        message = f"{self._address} closed the connection before the answer was complete ({reason})"
        usage = answer.usage()
        return ModelError(code, message, retryable=True, usage=usage, ambiguous=usage is None)


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


def _is_stream(headers: Mapping[str, str]) -> bool:
    """Say whether a response is a stream of events, as was asked for; some servers label theirs as plain text."""
    kind = headers.get("content-type", "").casefold()
    return "event-stream" in kind or "text/plain" in kind


def _may_be_error(data: object) -> bool:
    """Say whether it is worth while to look for an error: most pieces of most streams have none."""
    return not isinstance(data, dict) or "error" in data


def _json_or_nothing(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
