"""The control endpoints: script behaviours, release held calls, see what goes on."""

import asyncio
import contextlib

from pydantic import BaseModel, Field, TypeAdapter
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from llm_worker.offline_model.behaviours import Behaviour
from llm_worker.offline_model.board import CallBoard, Counts

_SCRIPT: TypeAdapter[list[Behaviour]] = TypeAdapter(list[Behaviour])


class _Awaited(BaseModel):
    """What a long-poll waits for, at most `timeout` seconds: numbers of calls held, under way and made."""

    held: int = Field(default=0, ge=0)
    held_at_most: int | None = Field(default=None, ge=0)
    open: int = Field(default=0, ge=0)
    open_at_most: int | None = Field(default=None, ge=0)
    made: int = Field(default=0, ge=0)
    timeout: float = Field(default=0, ge=0, le=600)

    def reached(self, counts: Counts) -> bool:
        held = _is_between(counts.held, self.held, self.held_at_most)
        return held and _is_between(counts.open, self.open, self.open_at_most) and counts.made >= self.made


def _is_between(count: int, lowest: int, highest: int | None) -> bool:
    return count >= lowest and (highest is None or count <= highest)


def control_routes(board: CallBoard) -> list[Route]:
    """Return the routes under /control that steer one board."""

    async def script(request: Request) -> JSONResponse:
        board.script(_SCRIPT.validate_json(await request.body()))
        return JSONResponse(board.counts.to_dict())

    async def clear(_request: Request) -> JSONResponse:
        board.clear_script()
        return JSONResponse(board.counts.to_dict())

    async def release(_request: Request) -> JSONResponse:
        return JSONResponse({"released": board.release()})

    async def calls(request: Request) -> JSONResponse:
        awaited = _Awaited.model_validate(dict(request.query_params))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(awaited.timeout):
                await board.wait_until(awaited.reached)
        return JSONResponse(board.counts.to_dict() | {"reached": awaited.reached(board.counts)})

    return [
        Route("/control/behaviours", script, methods=["POST"]),
        Route("/control/behaviours", clear, methods=["DELETE"]),
        Route("/control/release", release, methods=["POST"]),
        Route("/control/calls", calls, methods=["GET"]),
    ]
