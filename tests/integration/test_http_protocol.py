"""Clients that do not say what they want, on real sockets."""

import asyncio
import socket
from contextlib import asynccontextmanager

import uvicorn

from shared.http_protocol import TimedProtocol
from shared.service import health_app
from shared.telemetry.metrics import new_registry

HEAD = b"GET /live HTTP/1.1\r\nHost: weft\r\n\r\n"


class QuickProtocol(TimedProtocol):
    head_seconds = 0.5


@asynccontextmanager
async def line_to(app):
    """A connection to a server of the application; all that is read must come within 10 s."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, http=QuickProtocol, lifespan="off", log_config=None))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        async with asyncio.timeout(10):
            yield reader, writer
        writer.close()
        server.should_exit = True
        await serving


async def test_one_who_never_completes_a_head_is_left():
    async with line_to(health_app([], new_registry("test"))) as (reader, writer):
        writer.write(HEAD[:-2])
        assert await reader.read() == b""


async def test_nor_may_a_second_head_take_longer():
    async with line_to(health_app([], new_registry("test"))) as (reader, writer):
        writer.write(HEAD)
        assert b"200 OK" in await reader.readuntil(b'live"}')
        writer.write(HEAD[:-2])
        assert await reader.read() == b""


async def test_an_answer_that_takes_its_time_is_waited_for():
    async def slow(scope, receive, send):
        await asyncio.sleep(3 * QuickProtocol.head_seconds)
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    async with line_to(slow) as (reader, writer):
        writer.write(HEAD)
        assert b"204" in await reader.readuntil(b"\r\n\r\n")
