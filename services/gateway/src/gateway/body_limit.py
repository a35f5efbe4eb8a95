"""The limits of request bodies and of the time that they may take, and of the time a client may take to read.

Starlette's own limit answers with plain text, ours with a problem document.
"""

import asyncio
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog import get_logger

from gateway.problems import BodyTooLargeError, problem_response
from shared.contracts.commands import MAX_START_BYTES
from shared.contracts.errors import InvalidInputError, invalid
from shared.contracts.values import MAX_PICTURE_BYTES

UPLOADS = "/api/uploads"
MAX_UPLOAD_BYTES = MAX_PICTURE_BYTES + 64 * 1024  # a form wraps its file in boundaries and headers
MAX_BODY_BYTES = 2 * MAX_START_BYTES  # of all others, which are JSON: while it is read, nobody else is served
# Many clients listen only after they have sent all; closed at once, the connection would take the answer along.
LINGER_BYTES = 64 * 1024 * 1024
LINGER_SECONDS = 5.0
PIECE_SECONDS = 20.0  # for the next piece of a body
BODY_SECONDS = 300.0  # for all of it: 25 MB at 0.7 Mbit/s
SEND_SECONDS = 60.0  # in which a client must take a piece of an answer

_MB = 1024 * 1024

log = get_logger(__name__)


def file_too_large() -> InvalidInputError:
    """Return the error of a file that is over the limit."""
    return invalid(
        "file_too_large",
        f"more than the limit of {MAX_PICTURE_BYTES // _MB} MB was sent",
        fix="send less, for instance a smaller picture",
    )


def body_too_large(path: str) -> InvalidInputError:
    """Return the error of a body that is over the limit of its path."""
    if path == UPLOADS:
        return file_too_large()
    return invalid(
        "body_too_large",
        f"more than the limit of {MAX_BODY_BYTES // _MB} MB was sent",
        fix="send less: pictures as uploads, many runs in several requests",
    )


class BodyLimit:
    """Refuses bodies over the limit: one that announces its size at once, any other when it reaches the limit.

    A body that comes too slowly is refused as well, and a client that does not take its answer is left. What a client
    still sends after a refusal is thrown away, up to a limit of its own; then the connection ends.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, its body limited."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        limit = MAX_UPLOAD_BYTES if scope["path"] == UPLOADS else MAX_BODY_BYTES
        exchange = _Exchange(receive, send, scope["path"], limit, has_body=_has_body(scope))
        if _announced(scope) > limit:
            response = problem_response(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, body_too_large(scope["path"]).problems)
            return await response(scope, exchange.receive, exchange.send)
        return await self._app(scope, exchange.receive, exchange.send)


def _announced(scope: Scope) -> int:
    length = Headers(scope=scope).get("content-length", "0")
    return int(length) if length.isdecimal() else 0


def _has_body(scope: Scope) -> bool:
    return _announced(scope) > 0 or "transfer-encoding" in Headers(scope=scope)


class _Exchange:
    """One request and its response."""

    def __init__(self, receive: Receive, send: Send, path: str, limit: int, *, has_body: bool) -> None:
        self._receive = receive
        self._send = send
        self._path, self._limit = path, limit
        self._received = 0
        self._is_complete = not has_body
        self._is_refusal = False
        self._deadline = asyncio.get_running_loop().time() + BODY_SECONDS

    async def receive(self) -> Message:
        message = await (self._receive() if self._is_complete else self._receive_in_time())
        self._received += len(message.get("body", b""))
        self._is_complete = self._is_complete or not message.get("more_body")
        if self._received > self._limit:
            self._is_complete = False
            # The one kind of exception that the framework passes through while it reads a body.
            raise BodyTooLargeError(body_too_large(self._path))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            # A client that is told an error before it has sent all must hear it, and must then stop.
            self._is_refusal = not self._is_complete and message["status"] >= HTTPStatus.BAD_REQUEST
            if self._is_refusal:
                MutableHeaders(scope=message)["Connection"] = "close"
        if not self._is_refusal or message["type"] != "http.response.body" or message.get("more_body"):
            return await self._send_in_time(message)
        await self._send_in_time({**message, "more_body": True})
        await self._linger()
        return await self._send_in_time({"type": "http.response.body", "body": b"", "more_body": False})

    async def _receive_in_time(self) -> Message:
        left = self._deadline - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(min(PIECE_SECONDS, left)):
                return await self._receive()
        except TimeoutError as err:
            what = f"the body did not come within {BODY_SECONDS:.0f} s, each piece of it within {PIECE_SECONDS:.0f} s"
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, what) from err

    async def _send_in_time(self, message: Message) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._send(message)
        except TimeoutError as err:
            raise ConnectionAbortedError(f"the client took no part of its answer for {SEND_SECONDS:.0f} s") from err

    async def _linger(self) -> None:
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                await self._discard()
        except TimeoutError:
            log.info("a client goes on to send a body that was refused")

    async def _discard(self) -> None:
        discarded = 0
        while discarded < LINGER_BYTES:
            message = await self._receive()
            discarded += len(message.get("body", b""))
            if not message.get("more_body"):
                return
