"""How the client reads the answers of providers that differ; a local server gives them word for word."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from llm_worker.client import ModelClient, retry_after_seconds
from llm_worker.domain.model import ModelError, ModelErrorCode, ModelReply, ModelRequest
from llm_worker.domain.provider import Provider
from shared.contracts.events import Usage

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
KEY = "sk-planted-canary"
JSON = "Content-Type: application/json\r\n"
EVENTS = "Content-Type: text/event-stream\r\n"
USED = {"prompt_tokens": 3, "completion_tokens": 2}
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

        async def ask(status: int, body: Any, *, headers: str = "", profile: str | None = None) -> ModelReply:
            text = body if isinstance(body, str) else json.dumps(body)
            headers = headers if "Content-Type" in headers else headers + JSON
            base_url = await stack.enter_async_context(server_answering(status, text, headers))
            provider = Provider(
                name="p", profile=profile, base_url=base_url, api_key=SecretStr(KEY), models=("*",), timeout=10
            )
            client = ModelClient(provider)
            stack.push_async_callback(client.close)
            return await client.complete(ModelRequest("m", "Be brief.", "Hello", (), 16, 0.5))

        yield ask


def completion(message: dict[str, Any], finish_reason: str | None = "stop", **fields: Any) -> dict[str, Any]:
    return {"choices": [{"message": message, "finish_reason": finish_reason}], "usage": USED, **fields}


async def failure(answer: Awaitable[ModelReply]) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await answer
    return caught.value


async def test_a_completion_is_read(ask: Ask):
    reply = await ask(200, completion({"content": "Hi"}, model="m-2026", id="r1"))
    usage = Usage(model="m-2026", input_tokens=3, output_tokens=2)
    assert reply == ModelReply(text="Hi", usage=usage, finish_reason="stop", response_id="r1")


async def test_missing_usage_model_and_finish_reason_stay_unknown(ask: Ask):
    reply = await ask(200, {"choices": [{"message": {"content": "Hi"}}]})
    assert reply == ModelReply(text="Hi", usage=Usage(model="m"))


@pytest.mark.parametrize(
    ("told", "cost"),
    [(0.25, 0.25), (0, 0.0), ("0.5", 0.5), (None, None), (-1, None), ("much", None), ([], None), (float("nan"), None)],
)
async def test_a_cost_is_taken_from_the_provider_if_it_makes_sense(ask: Ask, told: Any, cost: float | None):
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "cost": told, "prompt_tokens_details": "odd"}
    reply = await ask(200, completion({"content": "Hi"}, usage=usage))
    assert reply.usage == Usage(model="m", input_tokens=3, output_tokens=2, cost=cost)


@pytest.mark.parametrize("odd", [{"usage": []}, {"usage": "much"}, {"id": 7}, {"model": {}}])
async def test_odd_words_beside_an_answer_do_not_lose_it(ask: Ask, odd: dict[str, Any]):
    assert (await ask(200, completion({"content": "Hi"}, **odd))).text == "Hi"


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
        (402, "llm_quota", False),
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
    assert (error.code, error.retryable) == (ModelErrorCode.QUOTA, False)


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


def stream(*pieces: Any, done: bool = True) -> str:
    lines = [f"data: {piece if isinstance(piece, str) else json.dumps(piece)}\n\n" for piece in pieces]
    return "".join([*lines, "data: [DONE]\n\n"] if done else lines)


def piece(content: str = "", finish_reason: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": content}, "finish_reason": finish_reason}], **fields}


async def test_a_stream_is_put_together_whatever_is_between_its_pieces(ask: Ask):
    thinking = {"choices": [{"delta": {"reasoning_content": "Hm.", "content": None}, "finish_reason": None}]}
    pieces = [": ping", thinking, piece("Hi"), piece(" there", "stop"), {"choices": [], "usage": USED}]
    body = stream(*pieces).replace("data: : ping", ": ping")
    reply = await ask(200, body, headers=EVENTS)
    assert (reply.text, reply.finish_reason) == ("Hi there", "stop")
    assert reply.usage == Usage(model="m", input_tokens=3, output_tokens=2)


async def test_usage_that_grows_with_the_stream_counts_once(ask: Ask):
    growing = {"prompt_tokens": 3, "completion_tokens": 1}
    reply = await ask(200, stream(piece("a", usage=growing), piece("b", "stop", usage=USED)), headers=EVENTS)
    assert reply.usage.output_tokens == 2


@pytest.mark.parametrize("profile", ["openai", "gemini", "openrouter", "vllm", "ollama"])
async def test_a_stream_without_a_finish_reason_was_cut_off(ask: Ask, profile: str):
    error = await failure(ask(200, stream(piece("Half an ans")), headers=EVENTS, profile=profile))
    assert (error.code, error.retryable, error.ambiguous) == (ModelErrorCode.INCOMPLETE, True, True)


async def test_a_cut_off_stream_that_told_its_usage_is_not_ambiguous(ask: Ask):
    error = await failure(ask(200, stream(piece("Half", usage=USED)), headers=EVENTS, profile="openai"))
    assert error.usage == Usage(model="m", input_tokens=3, output_tokens=2)
    assert not error.ambiguous


@pytest.mark.parametrize("profile", ["deepseek", "generic"])
async def test_servers_that_may_leave_out_the_finish_reason_may(ask: Ask, profile: str):
    reply = await ask(200, stream(piece("Whole.")), headers=EVENTS, profile=profile)
    assert (reply.text, reply.finish_reason) == ("Whole.", None)


MIDWAY: list[Any] = [
    ("openrouter", {"error": {"code": 429, "message": "slow down"}}, "llm_rate_limited"),
    ("openrouter", {"error": {"code": "server_error", "message": "gone"}, **piece("", "error")}, "llm_unavailable"),
    ("openrouter", piece("", "error"), "llm_unavailable"),
    ("gemini", [{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}], "llm_unavailable"),
    ("vllm", {"error": {"code": 400, "message": "the maximum context length is 10"}}, "llm_context_length"),
]


@pytest.mark.parametrize(("profile", "told", "code"), MIDWAY)
async def test_an_error_in_the_middle_of_a_stream_leaves_open_what_was_charged(
    ask: Ask, profile: str, told: Any, code: str
):
    error = await failure(ask(200, stream(piece("Half"), told), headers=EVENTS, profile=profile))
    assert (error.code, error.ambiguous) == (code, True)


async def test_an_error_in_place_of_a_stream_is_a_sure_one(ask: Ask):
    error = await failure(ask(200, stream({"error": {"code": 502, "message": "no provider"}}), headers=EVENTS))
    assert (error.code, error.ambiguous) == (ModelErrorCode.UNAVAILABLE, False)


RULES: list[Any] = [
    ("openai", (429, {"error": {"code": "insufficient_quota", "message": "x"}}, ""), ("llm_quota", False)),
    ("openai", (400, {"error": {"code": "context_length_exceeded"}}, ""), ("llm_context_length", False)),
    ("gemini", (400, [{"error": {"code": 400, "message": "API key not valid."}}], ""), ("llm_auth", False)),
    ("gemini", (400, [{"error": {"message": "The input token count is"}}], ""), ("llm_context_length", False)),
    ("ollama", (404, {"error": {"message": "try pulling it first"}}, ""), ("llm_not_found", False)),
    ("vllm", (400, {"error": {"message": "maximum context length is"}}, ""), ("llm_context_length", False)),
    ("openrouter", (402, {"error": {"code": 402, "message": "credits"}}, ""), ("llm_quota", False)),
    ("openrouter", (402, {"error": {"code": 402}}, "Retry-After: 3\r\n"), ("llm_rate_limited", True)),
    ("openrouter", (403, {"error": {"code": 403, "message": "It was flagged"}}, ""), ("llm_refused", False)),
    ("deepseek", (402, {"error": {"message": "Insufficient Balance"}}, ""), ("llm_quota", False)),
]


@pytest.mark.parametrize(("profile", "answered", "outcome"), RULES)
async def test_what_providers_say_in_their_own_words_has_one_code(
    ask: Ask, profile: str, answered: tuple[int, Any, str], outcome: tuple[str, bool]
):
    status, body, headers = answered
    error = await failure(ask(status, body, headers=headers, profile=profile))
    assert (error.code, error.retryable, error.ambiguous) == (*outcome, False)


async def test_the_wait_that_gemini_tells_in_the_body_is_kept(ask: Ask):
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}]
    body = [{"error": {"code": 429, "message": "x", "status": "RESOURCE_EXHAUSTED", "details": details}}]
    error = await failure(ask(429, body, profile="gemini"))
    assert (error.code, error.retry_after) == (ModelErrorCode.RATE_LIMITED, 34.5)


@pytest.mark.parametrize(("status", "ambiguous"), [(500, False), (503, False), (408, True), (504, True), (524, True)])
async def test_a_timeout_between_here_and_the_provider_leaves_open_what_was_charged(
    ask: Ask, status: int, ambiguous: bool
):
    error = await failure(ask(status, ""))
    assert (error.retryable, error.ambiguous) == (True, ambiguous)


@pytest.mark.parametrize(
    ("profile", "used", "cached", "cost"),
    [
        ("openai", {"prompt_tokens_details": {"cached_tokens": 2}, "cost": 9}, 2, None),
        ("openrouter", {"prompt_tokens_details": {"cached_tokens": 2}, "cost": 0.5}, 2, 0.5),
        ("deepseek", {"prompt_cache_hit_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2}}, 1, None),
        ("ollama", {}, None, None),
    ],
)
async def test_usage_is_read_where_the_profile_says(
    ask: Ask, profile: str, used: dict[str, Any], cached: int | None, cost: float | None
):
    reply = await ask(200, completion({"content": "Hi"}, usage={**USED, **used}), profile=profile)
    assert (reply.usage.cached_tokens, reply.usage.cost) == (cached, cost)


async def test_an_endless_answer_is_given_up(ask: Ask, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("llm_worker.answers.MAX_REPLY_CHARACTERS", 10)
    error = await failure(ask(200, stream(piece("0123456789"), piece("x")), headers=EVENTS))
    assert (error.code, error.retryable) == (ModelErrorCode.INVALID_OUTPUT, False)


@pytest.mark.parametrize("garbage", ["<html>", "{", "[" * 10_000, "null", "7"])
async def test_a_stream_of_something_else_is_invalid_and_may_have_cost_something(ask: Ask, garbage: str):
    error = await failure(ask(200, stream(piece("Half"), garbage), headers=EVENTS))
    assert (error.code, error.retryable, error.ambiguous) == (ModelErrorCode.INVALID_OUTPUT, True, True)


async def test_a_server_that_hangs_up_after_the_request_leaves_open_what_was_charged():
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        client = ModelClient(Provider(name="p", base_url=base_url, models=("*",)))
        error = await failure(client.complete(ModelRequest("m", None, "Hello", (), 16)))
        await client.close()
    assert (error.code, error.retryable, error.ambiguous) == (ModelErrorCode.UNAVAILABLE, True, True)
