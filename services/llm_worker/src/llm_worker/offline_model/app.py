"""The stand-in's HTTP side: OpenAI's endpoints, health, and the control endpoints."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus

import anyio
from anyio.to_thread import run_sync
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from llm_worker.offline_model.answer import Completion, answer, refuse
from llm_worker.offline_model.behaviours import (
    MODEL,
    Behaviour,
    Drop,
    Fail,
    Garbage,
    Hold,
    Refuse,
    Slow,
    Stall,
    cost_of,
    parse_model_name,
)
from llm_worker.offline_model.board import CallBoard
from llm_worker.offline_model.chat import ChatRequest, decode_data_uri
from llm_worker.offline_model.completion import render_events, render_json
from llm_worker.offline_model.control import control_routes
from llm_worker.offline_model.errors import error_response, render_error
from llm_worker.offline_model.measure import Measurement, measure
from shared.contracts.errors import InvalidInputError
from shared.images import open_upright

_MAX_BODY = 64 * 1024 * 1024
_PICTURES_AT_ONCE = 2
_GARBAGE = "<html><body><h1>502 Bad Gateway</h1></body></html>"
_EVENT_STREAM = "text/event-stream"


def create_app(board: CallBoard | None = None) -> Starlette:
    """Build the server's application; a caller that passes the board can steer it and close it."""
    board = board or CallBoard()
    chat = _ChatEndpoint(board, anyio.CapacityLimiter(_PICTURES_AT_ONCE))
    return Starlette(
        routes=[
            Route("/v1/chat/completions", chat.complete, methods=["POST"]),
            Route("/v1/models", _models, methods=["GET"]),
            Route("/live", _healthy, methods=["GET"]),
            Route("/ready", _healthy, methods=["GET"]),
            *control_routes(board),
        ],
        exception_handlers={
            ValidationError: render_error,
            InvalidInputError: render_error,
            HTTPException: render_error,
        },
        max_body_size=_MAX_BODY,
    )


@dataclass(frozen=True, slots=True)
class _ChatEndpoint:
    """Takes a call through its behaviour: what happens before, instead of, and to the answer."""

    board: CallBoard
    decoders: anyio.CapacityLimiter

    async def complete(self, request: Request) -> Response:
        body = await request.body()
        chat = ChatRequest.model_validate_json(body)
        by_name = parse_model_name(chat.model)
        behaviour = self.board.begin_call() or by_name
        if (early := await self._before(behaviour, request)) is not None:
            return early
        pictures = await run_sync(_measure_all, chat.image_urls, limiter=self.decoders)
        completion = (refuse if isinstance(behaviour, Refuse) else answer)(chat, pictures)
        completion = replace(completion, cost=cost_of(behaviour))
        call_id = f"chatcmpl-{hashlib.sha256(body).hexdigest()[:24]}"
        return _deliver(completion, chat, call_id, dropped=isinstance(behaviour, Drop))

    async def _before(self, behaviour: Behaviour, request: Request) -> Response | None:
        """Fail or wait, as the behaviour says; None means that the call goes on to its answer."""
        match behaviour:
            case Fail(status=status, retry_after=retry_after):
                return error_response(status, "the stand-in was told to fail", retry_after=retry_after)
            case Garbage():
                return Response(_GARBAGE, media_type="text/html")
            case Slow(delay_ms=delay):
                return await self._wait(request, lambda: asyncio.sleep(delay / 1000))
            case Stall():
                return await self._wait(request, self.board.closing.wait)
            case Hold():
                return await self._wait(request, self.board.hold)
            case _:
                return None

    async def _wait(self, request: Request, waiting: Callable[[], Awaitable[object]]) -> Response | None:
        """Wait, unless the client goes away or the server stops: then return what ends the call."""
        finished = False
        async with anyio.create_task_group() as group:

            async def stop_after(ending: Callable[[], Awaitable[object]]) -> None:
                await ending()
                group.cancel_scope.cancel()

            group.start_soon(stop_after, lambda: _client_left(request))
            group.start_soon(stop_after, self.board.closing.wait)
            await waiting()
            finished = not self.board.closing.is_set()
            group.cancel_scope.cancel()
        if finished:
            return None
        return error_response(HTTPStatus.SERVICE_UNAVAILABLE, "the offline model server is stopping")


class _CutOff(Response):
    """Sends the first half of an answer, and leaves it incomplete: the server closes the connection."""

    def __init__(self, chunks: Sequence[bytes], media_type: str) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        whole = b"".join(chunks)
        self._half = whole[: len(whole) // 2]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's form
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await send(start)
        await send({"type": "http.response.body", "body": self._half, "more_body": True})


async def _one_by_one(events: Iterable[bytes]) -> AsyncIterator[bytes]:
    # An async generator: Starlette would give a plain one a thread for each event.
    for event in events:
        yield event


async def _client_left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _measure_all(urls: Iterable[str]) -> list[Measurement]:
    return [measure(open_upright(decode_data_uri(url))) for url in urls]


def _deliver(completion: Completion, chat: ChatRequest, call_id: str, *, dropped: bool) -> Response:
    created = int(time.time())
    if not chat.stream:
        body = render_json(completion, call_id=call_id, created=created, model=chat.model)
        media_type = "application/json"
        return _CutOff([body], media_type) if dropped else Response(body, media_type=media_type)
    events = render_events(
        completion, call_id=call_id, created=created, model=chat.model, include_usage=chat.includes_usage
    )
    if dropped:
        return _CutOff(list(events), _EVENT_STREAM)
    return StreamingResponse(_one_by_one(events), media_type=_EVENT_STREAM)


async def _models(_request: Request) -> JSONResponse:
    model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "weft"}
    return JSONResponse({"object": "list", "data": [model]})


async def _healthy(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})
