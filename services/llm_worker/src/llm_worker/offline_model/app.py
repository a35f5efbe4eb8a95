"""The stand-in's HTTP side: OpenAI's endpoints, health, and the control endpoints."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus

import anyio
from anyio.to_thread import run_sync
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from llm_worker.offline_model.answer import Completion, answer, refuse
from llm_worker.offline_model.behaviours import (
    MODEL,
    Behaviour,
    Fail,
    Garbage,
    Hold,
    Misfit,
    Refuse,
    Slow,
    Stall,
    Unfinished,
    cost_of,
)
from llm_worker.offline_model.board import CallBoard
from llm_worker.offline_model.chat import ChatRequest, decode_data_uri
from llm_worker.offline_model.control import control_routes
from llm_worker.offline_model.delivery import GARBAGE, Delivery, Underway
from llm_worker.offline_model.errors import error_response, failure_response, render_error
from llm_worker.offline_model.measure import Measurement, measure
from llm_worker.offline_model.model_name import parse_model_name
from shared.contracts.errors import InvalidInputError
from shared.images import open_upright

_MAX_BODY = 64 * 1024 * 1024
_PICTURES_AT_ONCE = 2


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
        """Answer a call, and count it from its request to the end of its response."""
        body = await request.body()
        chat = ChatRequest.model_validate_json(body)
        by_name = parse_model_name(chat.model)
        behaviour = self.board.begin_call() or by_name
        try:
            response = await self._respond(request, chat, behaviour, body)
        except BaseException:
            self.board.end_call()
            raise
        return Underway(response, self.board)

    async def _respond(self, request: Request, chat: ChatRequest, behaviour: Behaviour, body: bytes) -> Response:
        if (early := await self._before(behaviour, request)) is not None:
            return early
        pictures = await run_sync(_measure_all, chat.image_urls, limiter=self.decoders)
        completion = replace(_completion(chat, pictures, behaviour), cost=cost_of(behaviour))
        call_id = f"chatcmpl-{hashlib.sha256(body).hexdigest()[:24]}"
        return Delivery(chat, completion, behaviour, call_id, int(time.time())).response(self.board)

    async def _before(self, behaviour: Behaviour, request: Request) -> Response | None:
        """Fail or wait, as the behaviour says; None means that the call goes on to its answer."""
        match behaviour:
            case Fail(place="status" | "body"):
                return failure_response(behaviour)
            case Garbage(place="body"):
                return Response(GARBAGE, media_type="text/html")
            case Slow(delay_ms=delay):
                return await self._wait(request, lambda: asyncio.sleep(delay / 1000))
            case Stall(place="start"):
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


def _completion(chat: ChatRequest, pictures: Sequence[Measurement], behaviour: Behaviour) -> Completion:
    match behaviour:
        case Refuse():
            return refuse(chat, pictures)
        case Unfinished():
            return replace(answer(chat, pictures), finish_reason=None)
        case Misfit():
            return answer(chat, pictures, fits=False)
        case _:
            return answer(chat, pictures)


async def _client_left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _measure_all(urls: Iterable[str]) -> list[Measurement]:
    return [measure(open_upright(decode_data_uri(url))) for url in urls]


async def _models(_request: Request) -> JSONResponse:
    model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "weft"}
    return JSONResponse({"object": "list", "data": [model]})


async def _healthy(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})
