"""How an answer is sent, whole or as a stream, and what may go wrong in its middle."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from llm_worker.offline_model.answer import Completion
from llm_worker.offline_model.behaviours import Answer, Behaviour, Drop, Fail, Garbage, Stall
from llm_worker.offline_model.board import CallBoard
from llm_worker.offline_model.chat import ChatRequest
from llm_worker.offline_model.completion import render_events, render_json
from llm_worker.offline_model.errors import failure_body

EVENT_STREAM = "text/event-stream"
GARBAGE = "<html><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass(frozen=True, slots=True)
class Delivery:
    """An answer, and how it is to be sent; `created` is in Unix seconds."""

    chat: ChatRequest
    completion: Completion
    behaviour: Behaviour
    call_id: str
    created: int

    def response(self, board: CallBoard) -> Response:
        """Return the response that sends it."""
        dropped = isinstance(self.behaviour, Drop)
        if not self.chat.stream:
            body = render_json(self.completion, **self._head)
            media_type = "application/json"
            return _CutOff([body], media_type) if dropped else Response(body, media_type=media_type)
        events = list(render_events(self.completion, **self._head, include_usage=self.chat.includes_usage))
        if dropped:
            return _CutOff(events, EVENT_STREAM)
        return StreamingResponse(_play(events, self.behaviour, board), media_type=EVENT_STREAM)

    @property
    def _head(self) -> dict[str, Any]:
        return {"call_id": self.call_id, "created": self.created, "model": self.chat.model}


class Underway(Response):
    """Another response, with which a call ends on the board: sent to its end, cut off, or hung up on."""

    def __init__(self, inner: Response, board: CallBoard) -> None:
        super().__init__()
        self._inner = inner
        self._board = board

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, as ASGI has it."""
        try:
            await self._inner(scope, receive, send)
        finally:
            self._board.end_call()


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


# Async generators: Starlette would give a plain one a thread for each event.
async def _play(events: Sequence[bytes], behaviour: Behaviour, board: CallBoard) -> AsyncIterator[bytes]:
    """Yield the events of a stream; of one that is to go wrong in its middle, the first half and what then comes."""
    goes_wrong = isinstance(behaviour, Stall | Fail | Garbage)
    pause = behaviour.pace_ms / 1000 if isinstance(behaviour, Answer) else 0
    for event in events[: len(events) // 2] if goes_wrong else events:
        yield event
        await asyncio.sleep(pause)  # also for no time: only so is it noticed that a client has left
    match behaviour:
        case Stall():
            await board.closing.wait()
        case Fail():
            yield _event(json.dumps(failure_body(behaviour)))
        case Garbage():
            yield _event(GARBAGE)
        case _:
            return


def _event(data: str) -> bytes:
    return f"data: {data}\n\n".encode()
