"""The offline model server as a real process, driven by the real client."""

import asyncio
import base64
import io
import json
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.request import Request, urlopen

import openai
import pytest
from PIL import Image

from llm_worker.client import ModelClient
from llm_worker.domain.model import ModelError, ModelErrorCode, ModelReply, ModelRequest
from llm_worker.domain.provider import Provider

LINE = "offline model server (stand-in): "


async def start(port: int = 0) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "llm_worker.offline_model", "--host", "127.0.0.1", "--port", str(port)),
        stdout=PIPE,
        stderr=PIPE,
    )


async def first_line(process: Process) -> str:
    assert process.stderr is not None
    async with asyncio.timeout(30):
        return (await process.stderr.readline()).decode().rstrip("\n")


@asynccontextmanager
async def running() -> AsyncGenerator[tuple[Process, str]]:
    """Run a server; it must end cleanly on SIGTERM, having said nothing but where it listens."""
    process = await start()
    try:
        line = await first_line(process)
        assert line.startswith(LINE)
        yield process, line.removeprefix(LINE)
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(10):
            rest = await process.communicate()
    assert (process.returncode, rest) == (0, (b"", b""))


@pytest.fixture(scope="module")
async def base_url() -> AsyncGenerator[str]:
    async with running() as (_, base_url):
        yield base_url


@asynccontextmanager
async def connected(base_url: str, patience: float = 20, profile: str | None = None) -> AsyncGenerator[ModelClient]:
    provider = Provider(name="offline", profile=profile, base_url=base_url, models=("*",), timeout=patience)
    client = ModelClient(provider)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def client(base_url: str) -> AsyncGenerator[ModelClient]:
    async with connected(base_url) as client:
        yield client


@pytest.fixture
def control(base_url: str) -> Callable[..., Awaitable[Any]]:
    """Call a control endpoint: a GET, or a POST of the body given."""

    def call(path: str, body: Any = None, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(base_url.removesuffix("/v1") + path, data=data, method=method)
        with urlopen(request, timeout=30) as response:
            return json.load(response)

    return lambda *arguments: asyncio.to_thread(call, *arguments)


def request(
    model: str = "offline",
    text: str = "What colours does this picture have?",
    *,
    images: tuple[str, ...] = (),
    max_output_tokens: int = 1024,
) -> ModelRequest:
    return ModelRequest(model, None, text, images, max_output_tokens, None)


def picture(left: str, right: str, size: tuple[int, int] = (640, 480), form: str = "PNG") -> str:
    image = Image.new("RGB", size, left)
    image.paste(right, (size[0] // 2, 0, *size))
    buffer = io.BytesIO()
    image.save(buffer, form)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


async def failure(answer: Awaitable[ModelReply]) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await answer
    return caught.value


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
async def test_the_answer_names_what_is_in_the_picture(client: ModelClient, form: str):
    reply = await client.complete(request(images=(picture("red", "blue", form=form),)))
    assert "640 x 480 pixels; landscape" in reply.text
    assert "left half mostly red, right half mostly blue" in reply.text
    assert "What colours does this picture have?" in reply.text
    assert "not a real model" in reply.text
    assert (reply.usage.model, reply.finish_reason) == ("offline", "stop")
    assert reply.usage.input_tokens
    assert reply.usage.output_tokens == -(-len(reply.text) // 4)
    assert reply.usage.cost is None


async def test_different_pictures_get_different_answers_and_equal_ones_equal_answers(client: ModelClient):
    pictures = [picture("red", "blue"), picture("green", "yellow"), picture("red", "blue", (480, 640))]
    replies = [await client.complete(request(images=(uri,))) for uri in [*pictures, pictures[0]]]
    assert len({reply.text for reply in replies}) == 3
    assert replies[0] == replies[3]


async def test_several_pictures_are_described_in_their_order(client: ModelClient):
    reply = await client.complete(request(images=(picture("black", "black"), picture("white", "white"))))
    assert reply.text.index("black 100%") < reply.text.index("white 100%")


async def test_texts_are_joined(client: ModelClient):
    reply = await client.complete(request(text="Join.\n\na: A red car. It is old.\n\nb: A blue house."))
    assert "- a: A red car." in reply.text
    assert "- b: A blue house." in reply.text


async def test_the_output_limit_is_kept(client: ModelClient):
    reply = await client.complete(request(max_output_tokens=3))
    assert (len(reply.text), reply.usage.output_tokens, reply.finish_reason) == (12, 3, "length")


async def test_streaming_through_the_openai_package(base_url: str, client: ModelClient):
    whole = await client.complete(request(text="Say hello. Twice."))
    async with openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as package:
        stream = await package.chat.completions.create(
            model="offline",
            messages=[{"role": "user", "content": "Say hello. Twice."}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        models = [model.id async for model in package.models.list()]
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices) == whole.text
    assert choices[-1].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.output_tokens
    assert models == ["offline"]


async def test_a_stream_that_is_cut_off_fails_at_the_reader(base_url: str):
    async with openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as package:
        stream = await package.chat.completions.create(
            model="offline:drop", messages=[{"role": "user", "content": "Hello"}], stream=True
        )
        with pytest.raises(openai.APIConnectionError):
            _ = [chunk async for chunk in stream]


FAULTS = [
    # what the stand-in is told, its code, whether it is worth another try, whether the call may have been charged
    ("429=7", "llm_rate_limited", True, False),
    ("429", "llm_rate_limited", True, False),
    ("500", "llm_unavailable", True, False),
    ("503=1", "llm_unavailable", True, False),
    ("504", "llm_unavailable", True, True),
    ("401", "llm_auth", False, False),
    ("context", "llm_context_length", False, False),
    ("quota", "llm_quota", False, False),
    ("gemini=429", "llm_rate_limited", True, False),
    ("gemini=500", "llm_unavailable", True, False),
    ("inside=429", "llm_rate_limited", True, False),
    ("inside=502", "llm_unavailable", True, False),
    ("midway=429", "llm_rate_limited", True, True),
    ("midway=502", "llm_unavailable", True, True),
    ("garbage", "llm_invalid_output", True, True),
    ("garble", "llm_invalid_output", True, True),
    ("drop", "llm_incomplete", True, True),
    ("stall", "llm_timeout", True, True),
    ("silence", "llm_timeout", True, True),
    ("unfinished", "llm_incomplete", True, False),  # its usage was told
    ("refuse", "llm_refused", False, False),
    ("nonsense", "llm_bad_request", False, False),
]


@pytest.mark.parametrize(("word", "code", "retryable", "ambiguous"), FAULTS)
async def test_a_fault_has_its_code_and_says_whether_it_may_have_been_charged(
    base_url: str, word: str, code: str, retryable: bool, ambiguous: bool
):
    async with connected(base_url, patience=0.5, profile="openai") as client:
        error = await failure(client.complete(request(f"offline:{word}")))
    assert (error.code, error.retryable, error.ambiguous) == (code, retryable, ambiguous)
    assert error.retry_after == (float(word.partition("=")[2]) if word in ("429=7", "503=1") else None)


async def test_every_call_is_counted_at_the_server_whatever_became_of_it(
    base_url: str, control: Callable[..., Awaitable[Any]]
):
    before = (await control("/control/calls"))["made"]
    async with connected(base_url, patience=0.5) as client:
        for word in ("500", "stall", "silence", "drop", "garbage", "midway=500"):
            await failure(client.complete(request(f"offline:{word}")))
    counts = await control(f"/control/calls?made={before + 6}&open_at_most=0&timeout=20")
    assert (counts["made"] - before, counts["open"]) == (6, 0)


async def test_another_model_is_not_found(client: ModelClient):
    error = await failure(client.complete(request("gpt-5")))
    assert (error.code, error.ambiguous) == (ModelErrorCode.NOT_FOUND, False)


async def test_the_text_is_told_piece_by_piece_while_it_comes(client: ModelClient):
    told: list[str] = []
    reply = await client.complete(request("offline:pace=1"), told.append)
    assert "".join(told) == reply.text
    assert len(told) > 10


async def test_a_connection_that_is_kept_serves_the_next_call(client: ModelClient):
    replies = [await client.complete(request()) for _ in range(3)]
    assert {reply.text for reply in replies} == {replies[0].text}


@pytest.mark.parametrize("word", ["silence", "pace=60000", "stall", "hold"])
async def test_a_cancelled_call_is_seen_by_the_server_at_once(
    client: ModelClient, control: Callable[..., Awaitable[Any]], word: str
):
    call = asyncio.create_task(client.complete(request(f"offline:{word}")))
    await control("/control/calls?open=1&timeout=20")
    call.cancel()
    assert (await control("/control/calls?open_at_most=0&timeout=20"))["open"] == 0


async def test_a_slow_model_answers_in_the_end(client: ModelClient):
    clock = asyncio.get_running_loop().time
    before = clock()
    reply = await client.complete(request("offline:slow=150"))
    assert reply.usage.model == "offline:slow=150"
    assert clock() - before >= 0.15


async def test_a_stalled_call_times_out(base_url: str):
    async with connected(base_url, patience=0.3) as impatient:
        error = await failure(impatient.complete(request("offline:stall")))
    assert (error.code, error.retryable) == (ModelErrorCode.TIMEOUT, True)
    assert "within 0.3 s" in error.message


async def test_scripted_behaviours_are_used_in_order(client: ModelClient, control: Callable[..., Awaitable[Any]]):
    script = [{"kind": "error", "status": 429, "retry_after": 1}, {"kind": "garbage"}]
    assert (await control("/control/behaviours", script))["scripted"] == 2
    first, second = await failure(client.complete(request())), await failure(client.complete(request()))
    assert (first.code, first.retry_after) == (ModelErrorCode.RATE_LIMITED, 1)
    assert second.code == ModelErrorCode.INVALID_OUTPUT
    assert (await client.complete(request())).finish_reason == "stop"


async def test_a_cost_is_reported_when_the_model_name_or_the_script_says_so(
    client: ModelClient, control: Callable[..., Awaitable[Any]]
):
    assert (await client.complete(request("offline:cost=0.25"))).usage.cost == 0.25
    await control("/control/behaviours", [{"kind": "answer", "cost": 0.5}, {"kind": "refuse", "cost": 0.75}])
    assert (await client.complete(request())).usage.cost == 0.5
    error = await failure(client.complete(request()))
    assert error.usage is not None
    assert error.usage.cost == 0.75
    assert (await client.complete(request())).usage.cost is None


async def test_held_calls_go_on_when_released(client: ModelClient, control: Callable[..., Awaitable[Any]]):
    await control("/control/behaviours", [{"kind": "hold", "times": 2}])
    calls = [asyncio.create_task(client.complete(request())) for _ in range(2)]
    state = await control("/control/calls?held=2&timeout=20")
    assert (state["held"], state["reached"]) == (2, True)
    assert not any(call.done() for call in calls)
    assert await control("/control/release", {}) == {"released": 2}
    assert [reply.finish_reason for reply in await asyncio.gather(*calls)] == ["stop", "stop"]


async def test_calls_beyond_a_pool_of_connections_get_another(
    client: ModelClient, control: Callable[..., Awaitable[Any]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("llm_worker.connections.CALLS_PER_POOL", 2)
    calls = [asyncio.create_task(client.complete(request("offline:hold"))) for _ in range(5)]
    assert (await control("/control/calls?held=5&timeout=20"))["reached"]
    await control("/control/release", {})
    assert [reply.finish_reason for reply in await asyncio.gather(*calls)] == ["stop"] * 5


async def test_a_client_that_goes_away_frees_its_held_call(client: ModelClient, control: Callable[..., Awaitable[Any]]):
    call = asyncio.create_task(client.complete(request("offline:hold")))
    await control("/control/calls?held=1&timeout=20")
    call.cancel()
    assert (await control("/control/calls?held_at_most=0&timeout=20"))["reached"] is True


async def test_a_long_poll_that_is_not_satisfied_says_so(control: Callable[..., Awaitable[Any]]):
    assert (await control("/control/calls?held=9&timeout=0.05"))["reached"] is False


async def test_a_cleared_script_is_not_used(client: ModelClient, control: Callable[..., Awaitable[Any]]):
    await control("/control/behaviours", [{"kind": "stall"}])
    assert (await control("/control/behaviours", None, "DELETE"))["scripted"] == 0
    assert (await client.complete(request())).finish_reason == "stop"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/cat.png", "https://example.org/cat.png"])
async def test_an_image_url_is_refused_and_never_fetched(base_url: str, url: str):
    async with openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as package:
        with pytest.raises(openai.BadRequestError) as caught:
            await package.chat.completions.create(
                model="offline",
                messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}],
            )
    assert (caught.value.code, caught.value.param) == ("invalid_image_url", "messages")
    assert caught.value.type == "invalid_request_error"


async def test_a_broken_picture_is_a_bad_request(client: ModelClient):
    error = await failure(client.complete(request(images=("data:image/png;base64,iVBORw0KGgoAAAA=",))))
    assert error.code == ModelErrorCode.BAD_REQUEST
    assert "answered 400" in error.message


@pytest.mark.parametrize("path", ["/live", "/ready"])
async def test_health(control: Callable[..., Awaitable[Any]], path: str):
    assert await control(path) == {"status": "ok"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_server_at_once_even_with_calls_in_flight(number: signal.Signals):
    async with running() as (process, base_url), connected(base_url) as client:
        calls = [asyncio.create_task(client.complete(request(f"offline:{word}"))) for word in ("hold", "stall")]
        control = base_url.removesuffix("/v1")
        await asyncio.to_thread(lambda: urlopen(f"{control}/control/calls?held=1&made=2&timeout=20").close())
        process.send_signal(number)
        async with asyncio.timeout(5):
            assert await process.wait() == 0
        errors = [await failure(call) for call in calls]
    assert [error.code for error in errors] == [ModelErrorCode.UNAVAILABLE] * 2


async def test_a_taken_port_is_one_clear_line_and_exit_code_69():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        process = await start(port)
        async with asyncio.timeout(30):
            out, err = await process.communicate()
    assert (process.returncode, out) == (69, b"")
    assert err.decode().count("\n") == 1
    assert f"cannot listen on 127.0.0.1:{port}" in err.decode()


async def test_an_unreachable_server_is_named_with_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as briefly:
        base_url = f"http://127.0.0.1:{briefly.getsockname()[1]}/v1"
    async with connected(base_url) as client:
        error = await failure(client.complete(request()))
    assert (error.code, error.retryable, error.ambiguous) == (ModelErrorCode.UNAVAILABLE, True, False)
    assert base_url in error.message
    assert "check that it runs" in error.message
