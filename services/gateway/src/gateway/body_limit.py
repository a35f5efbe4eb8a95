"""The limit of request bodies. Starlette's own answers with plain text, ours with a problem document."""

import asyncio
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog import get_logger

from gateway.problems import problem_response
from shared.contracts.errors import InvalidInputError, invalid
from shared.contracts.values import MAX_PICTURE_BYTES

MAX_BODY_BYTES = MAX_PICTURE_BYTES + 64 * 1024  # a form wraps its file in boundaries and headers
# Many clients listen only after they have sent all; closed at once, the connection would take the answer along.
LINGER_BYTES = 64 * 1024 * 1024
LINGER_SECONDS = 5.0

log = get_logger(__name__)


def too_large() -> InvalidInputError:
    """Return the error of a body or file that is over the limit."""
    return invalid(
        "file_too_large",
        f"more than the limit of {MAX_PICTURE_BYTES // (1024 * 1024)} MB was sent",
        fix="send less, for instance a smaller picture",
    )


class BodyLimit:
    """Refuses bodies over the limit: one that announces its size at once, any other when it reaches the limit.

    What a client still sends after the refusal is thrown away, up to a limit of its own; then the connection ends.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, its body limited."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        exchange = _Exchange(receive, send)
        if _announced(scope) > MAX_BODY_BYTES:
            response = problem_response(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_large().problems)
            exchange.refuse()
            return await response(scope, exchange.receive, exchange.send)
        return await self._app(scope, exchange.receive, exchange.send)


def _announced(scope: Scope) -> int:
    length = Headers(scope=scope).get("content-length", "0")
    return int(length) if length.isdecimal() else 0


class _Exchange:
    """One request and its response."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._received = 0
        self._refused = False

    def refuse(self) -> None:
        """Expect a refusal to be sent, while the client may still be sending."""
        self._refused = True

    async def receive(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        if self._received > MAX_BODY_BYTES:
            self.refuse()
            # The one kind of exception that the framework passes through while it reads a body.
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_large().problems[0].message)
        return message

    async def send(self, message: Message) -> None:
        if not self._refused or message["type"] != "http.response.body" or message.get("more_body"):
            return await self._send(message)
        await self._send({**message, "more_body": True})
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                await self._discard()
        except TimeoutError:
            log.info("a client goes on to send a body that was refused")
        return await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _discard(self) -> None:
        discarded = 0
        while discarded < LINGER_BYTES:
            message = await self._receive()
            discarded += len(message.get("body", b""))
            if not message.get("more_body"):
                return
