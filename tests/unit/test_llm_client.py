"""How the client reads the answers of providers that differ; a local server gives them word for word."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from llm_worker.client import ModelClient, retry_after_seconds
from llm_worker.domain.model import ModelError, ModelErrorCode, ModelReply, ModelRequest
from shared.contracts.events import Usage

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
KEY = "sk-planted-canary"
Ask = Callable[..., Awaitable[ModelReply]]


@asynccontextmanager
async def server_answering(status: int, body: str, headers: str) -> AsyncGenerator[str]:
    """Serve one fixed answer on a free port, and give the base URL."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r")[0]))
        fixed = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body.encode())}\r\nConnection: close\r\n"
        writer.write((fixed + headers + "\r\n" + body).encode())
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(respond, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


@pytest.fixture
async def ask() -> AsyncGenerator[Ask]:
    """Ask a server that gives a fixed answer."""
    async with AsyncExitStack() as stack:

        async def ask(status: int, body: Any, *, headers: str = "") -> ModelReply:
            text = body if isinstance(body, str) else json.dumps(body)
            base_url = await stack.enter_async_context(server_answering(status, text, headers))
            client = ModelClient(base_url=base_url, api_key=KEY, timeout=10)
            stack.push_async_callback(client.close)
            return await client.complete(ModelRequest("m", "Be brief.", "Hello", (), 16, 0.5))

        yield ask


def completion(message: dict[str, Any], finish_reason: str | None = "stop", **fields: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    return {"choices": [{"message": message, "finish_reason": finish_reason}], "usage": usage, **fields}


async def failure(answer: Awaitable[ModelReply]) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await answer
    return caught.value


async def test_a_completion_is_read(ask: Ask):
    reply = await ask(200, completion({"content": "Hi"}, model="m-2026"))
    assert reply == ModelReply("Hi", Usage(model="m-2026", input_tokens=3, output_tokens=2), finish_reason="stop")


async def test_missing_usage_model_and_finish_reason_stay_unknown(ask: Ask):
    reply = await ask(200, {"choices": [{"message": {"content": "Hi"}}]})
    assert reply == ModelReply("Hi", Usage(model="m"), finish_reason=None)


@pytest.mark.parametrize(
    ("told", "cost"),
    [(0.25, 0.25), (0, 0.0), ("0.5", 0.5), (None, None), (-1, None), ("much", None), ([], None), (float("nan"), None)],
)
async def test_a_cost_is_taken_from_the_provider_if_it_makes_sense(ask: Ask, told: Any, cost: float | None):
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "cost": told, "prompt_tokens_details": "odd"}
    reply = await ask(200, completion({"content": "Hi"}, usage=usage))
    assert reply.usage == Usage(model="m", input_tokens=3, output_tokens=2, cost=cost)


async def test_a_failed_call_without_usage_has_cost_nothing_that_is_known(ask: Ask):
    assert (await failure(ask(200, {"choices": []}))).usage is None
    assert (await failure(ask(500, ""))).usage is None


async def test_a_refusal_tells_what_it_cost(ask: Ask):
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "cost": 0.25}
    error = await failure(ask(200, completion({"content": None, "refusal": "No."}, usage=usage)))
    assert error.usage == Usage(model="m", input_tokens=3, output_tokens=2, cost=0.25)


WITHOUT_TEXT: list[Any] = [
    *("", "null", "[]", "{}", "<html>", '{"choices": [', '{"choices": null}', '{"choices": []}'),
    *('{"choices": [{}]}', '{"choices": "x"}', '{"choices": [{"message": {"content": ["x"]}}]}'),
    *(completion({"content": ""}), completion({"content": None})),
]


@pytest.mark.parametrize("body", WITHOUT_TEXT)
async def test_what_holds_no_text_is_invalid_output(ask: Ask, body: Any):
    error = await failure(ask(200, body))
    assert (error.code, error.retryable) == (ModelErrorCode.INVALID_OUTPUT, True)


async def test_an_answer_that_thinking_used_up_is_not_retried_and_its_cost_is_known(ask: Ask):
    error = await failure(ask(200, completion({"content": ""}, "length")))
    assert (error.code, error.retryable) == (ModelErrorCode.INVALID_OUTPUT, False)
    assert error.usage == Usage(model="m", input_tokens=3, output_tokens=2)


@pytest.mark.parametrize(
    "body",
    [
        completion({"content": None, "refusal": "I cannot help with that."}),
        completion({"content": "Half an ans"}, "content_filter"),
    ],
)
async def test_a_refusal_is_one_whatever_its_form(ask: Ask, body: Any):
    error = await failure(ask(200, body))
    assert (error.code, error.retryable) == (ModelErrorCode.REFUSED, False)
    assert error.usage == Usage(model="m", input_tokens=3, output_tokens=2)


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (400, "llm_bad_request", False),
        (401, "llm_auth", False),
        (402, "llm_bad_request", False),
        (403, "llm_auth", False),
        (404, "llm_not_found", False),
        (408, "llm_timeout", True),
        (409, "llm_unavailable", True),
        (413, "llm_bad_request", False),
        (422, "llm_bad_request", False),
        (429, "llm_rate_limited", True),
        (500, "llm_unavailable", True),
        (503, "llm_unavailable", True),
        (529, "llm_unavailable", True),
    ],
)
async def test_a_status_has_a_code_and_says_whether_to_retry(ask: Ask, status: int, code: str, retryable: bool):
    error = await failure(ask(status, {"error": {"message": "the reason", "code": None}}))
    assert (error.code, error.retryable, error.retry_after) == (code, retryable, None)
    assert f"answered {status}" in error.message
    assert error.__cause__ is not None


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "the reason", "type": "x", "code": "y"}},
        [{"error": {"code": 400, "message": "the reason", "status": "INVALID_ARGUMENT"}}],
        {"error": "the reason"},
    ],
    ids=["openai", "gemini", "ollama"],
)
async def test_the_providers_reason_is_shown_whatever_its_shape(ask: Ask, body: Any):
    assert (await failure(ask(400, body))).message.endswith("answered 400: the reason")


@pytest.mark.parametrize("body", ["", "<html>oops</html>", "[]", "7", {"error": None}])
async def test_an_error_without_a_readable_reason_keeps_its_status(ask: Ask, body: Any):
    assert (await failure(ask(500, body))).message.endswith("/v1 answered 500")


async def test_an_error_inside_a_200_is_an_error(ask: Ask):
    error = await failure(ask(200, {"error": {"code": 429, "message": "slow down"}}))
    assert (error.code, error.retryable) == (ModelErrorCode.RATE_LIMITED, True)


async def test_a_used_up_quota_is_not_retried(ask: Ask):
    error = await failure(ask(429, {"error": {"message": "no money", "code": "insufficient_quota"}}))
    assert (error.code, error.retryable) == (ModelErrorCode.RATE_LIMITED, False)


async def test_a_content_filter_that_answers_400_is_a_refusal(ask: Ask):
    error = await failure(ask(400, {"error": {"message": "filtered", "code": "content_filter"}}))
    assert error.code == ModelErrorCode.REFUSED


@pytest.mark.parametrize("status", [400, 401, 500])
async def test_an_echoed_key_is_not_shown(ask: Ask, status: int):
    error = await failure(ask(status, {"error": {"message": f"bad key {KEY}"}}))
    assert KEY not in str(error)


async def test_the_wait_that_a_server_asks_for_is_kept(ask: Ask):
    error = await failure(ask(503, "", headers="Retry-After: 12\r\n"))
    assert error.retry_after == 12


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("1.5", 1.5),
        ("Mon, 23 Nov 2026 12:01:00 GMT", 60.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("Mon, 23 Nov 2026 12:01:00 -0000", 60.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.2.3", None),
        ("²", None),
        (".", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str, seconds: float | None):
    assert retry_after_seconds({"retry-after": value}, NOW) == seconds


def test_no_header_is_no_wait():
    assert retry_after_seconds({}, NOW) is None
