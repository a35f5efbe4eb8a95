"""What makes a process a service: settings, logs, health endpoints, graceful shutdown, errors in one line."""

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass

import uvicorn
import uvloop
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp
from structlog import get_logger

from shared.contracts.errors import InvalidInputError, WeftError, unavailable
from shared.http_protocol import TimedProtocol
from shared.logs import configure_logs
from shared.redaction import known_secrets
from shared.settings import Settings
from shared.telemetry.tracing import exporting

OBJECTS_BETWEEN_COLLECTIONS = 10_000
KEEP_ALIVE_SECONDS = int(TimedProtocol.head_seconds)
EXIT_DEFECT = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 69  # EX_UNAVAILABLE of sysexits.h
EXIT_INTERRUPTED = 130  # 128 + SIGINT

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Check:
    """Something a service needs to be ready: a name for people, and whether it is there now."""

    name: str
    passes: Callable[[], Awaitable[bool]]


def health_routes(checks: Sequence[Check], registry: CollectorRegistry) -> list[BaseRoute]:
    """Return /live (the process answers), /ready (all checks pass, else 503 naming which do not) and /metrics."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_: Request) -> Response:
        failing = [check.name for check in checks if not await check.passes()]
        return JSONResponse({"ready": not failing, "failing": failing}, status_code=503 if failing else 200)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return [Route("/live", live), Route("/ready", ready), Route("/metrics", metrics)]


def health_app(checks: Sequence[Check], registry: CollectorRegistry) -> Starlette:
    """Return the HTTP side of a service that has no other."""
    return Starlette(routes=health_routes(checks, registry))


@dataclass(frozen=True, slots=True)
class Service:
    """What runs in a process: its HTTP side, and what must keep running behind it.

    Each of `background` is awaited for as long as the service lives; one that ends, ends the service, so that
    a process never looks alive while it does nothing. `on_stop` is called when the process is asked to stop:
    it must make endless responses end, since the server waits for those under way.
    """

    http: ASGIApp
    background: Sequence[Callable[[], Awaitable[None]]] = ()
    on_stop: Callable[[], None] | None = None


ServiceFactory = Callable[[Settings], AbstractAsyncContextManager[Service]]


class _Server(uvicorn.Server):
    """uvicorn, with signals left to us: its own handling would end the process before our clean-up."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    def ask_to_exit(self) -> None:
        self.should_exit = True


@contextmanager
def _on_signals(action: Callable[[], None]) -> Generator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, action)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _listen(settings: Settings) -> socket.socket:
    try:
        return socket.create_server((settings.http_host, settings.http_port), backlog=1024)
    except OSError as err:
        raise unavailable(
            "port_taken",
            f"cannot listen on {settings.http_host}:{settings.http_port}: {err.strerror}",
            where="WEFT_HTTP_PORT",
            fix="stop what listens there, or set WEFT_HTTP_PORT to a free port",
        ) from err


async def serve(settings: Settings, create_service: ServiceFactory) -> None:
    """Open the service, answer HTTP until SIGTERM or SIGINT, close it: that is where work in hand is finished."""
    listener = _listen(settings)
    async with create_service(settings) as service:
        server = _Server(
            uvicorn.Config(
                service.http,
                http=TimedProtocol,
                # Longer than clients keep idle connections: one that is used again just then would be found closed.
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=int(settings.shutdown_timeout),
            )
        )
        _collect_garbage_seldom()
        log.info("ready", address=f"http://{settings.http_host}:{listener.getsockname()[1]}")
        await _serve_until_exit(server, listener, service)
    log.info("stopped")


def _collect_garbage_seldom() -> None:
    """Have Python look for unreachable cycles once in so many new objects, and never in what is there from the start.

    A batch of a few hundred messages is tens of thousands of objects, with hardly a cycle among them. Looked through
    once in 700, as is the default, it cost services a fourth of their time. What is in no cycle is freed as ever.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS, 10, 10)


async def _serve_until_exit(server: _Server, listener: socket.socket, service: Service) -> None:
    def stop() -> None:
        if service.on_stop:
            service.on_stop()
        server.ask_to_exit()

    serving = asyncio.create_task(server.serve(sockets=[listener]))
    background = [asyncio.ensure_future(start()) for start in service.background]
    with _on_signals(stop):
        ended, _ = await asyncio.wait([serving, *background], return_when=asyncio.FIRST_COMPLETED)
        stop()
        await serving
    for task in background:
        task.cancel()
    for task in ended:
        task.result()


@contextmanager
def errors_in_one_line(name: str) -> Generator[None]:
    """End the process with the right exit code; errors that a person can mend are told without a traceback."""
    try:
        yield
    except WeftError as err:
        for problem in err.problems:
            sys.stderr.write(f"weft {name}: {problem.code}: {problem}\n")
        sys.exit(EXIT_USAGE if isinstance(err, InvalidInputError) else EXIT_UNAVAILABLE)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except Exception:
        # Not left to Python, which would show the traceback with whatever secret is in it.
        log.exception("ended by a defect")
        sys.exit(EXIT_DEFECT)


def run(name: str, create_service: ServiceFactory) -> None:
    """Be the process of a service."""
    with errors_in_one_line(name):
        settings = Settings.load()
        configure_logs(name, log_format=settings.log_format, level=settings.log_level, secrets=known_secrets(settings))
        with exporting(name, settings):
            uvloop.run(serve(settings, create_service))
