"""Runs the stand-in on a socket until it is told to stop."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Generator

import uvicorn

from llm_worker.offline_model.app import create_app
from llm_worker.offline_model.board import CallBoard
from shared.contracts.errors import unavailable
from shared.service import KEEP_ALIVE_SECONDS

_GRACE_SECONDS = 2
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def serve(host: str, port: int, *, on_listening: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM, or until cancelled; port 0 takes a free one.

    `on_listening` gets the base URL (`http://HOST:PORT/v1`) once requests are answered. Raises
    UnavailableError `address_not_available` if the address cannot be listened on. Stopping frees held
    calls and ends within about two seconds.
    """
    listener = bind(host, port)
    base_url = f"http://{_url_host(host)}:{listener.getsockname()[1]}/v1"
    board = CallBoard()
    config = uvicorn.Config(
        create_app(board),
        log_config=None,
        log_level="error",
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = _Server(config, on_started=lambda: on_listening(base_url))
    with _stopped_by_signals(board, server), _without_notes_on_cut_answers():
        await server.serve(sockets=[listener])


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; raises UnavailableError `address_not_available`."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as err:
        raise unavailable(
            "address_not_available",
            f"cannot listen on {host}:{port}: {err.strerror}",
            fix="stop what uses it, or choose another --port (0 takes a free one)",
        ) from err


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, *, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        # uvicorn's own version raises the signal again at the end, so that the process dies of it.
        yield


@contextlib.contextmanager
def _stopped_by_signals(board: CallBoard, server: uvicorn.Server) -> Generator[None, None, None]:
    def stop() -> None:
        board.close()
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def _without_notes_on_cut_answers() -> Generator[None, None, None]:
    """Keep uvicorn from reporting the answers that are cut off on purpose; other errors are logged."""

    def unintended(record: logging.LogRecord) -> bool:
        return record.getMessage() != "ASGI callable returned without completing response."

    logger = logging.getLogger("uvicorn.error")
    logger.addFilter(unintended)
    try:
        yield
    finally:
        logger.removeFilter(unintended)


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
