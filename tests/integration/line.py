"""A line to the broker or the database that can be cut, and that can freeze, as a network that drops everything."""

import asyncio
from contextlib import asynccontextmanager

from yarl import URL


class Line:
    """A TCP line to a server, on a port of its own. Cut, it refuses; frozen, nothing is heard on it.

    What the server says takes `lag` seconds.
    """

    def __init__(self, target, lag=0.0):
        self.target = URL(target)
        self.lag = lag
        self.port = 0
        self.server = None
        self.writers = set()
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.pieces_left = 0

    @property
    def url(self):
        return str(self.target.with_host("127.0.0.1").with_port(self.port))

    async def restore(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def cut(self):
        assert self.server
        self.server.close()
        for writer in tuple(self.writers):
            writer.transport.abort()
        await self.server.wait_closed()

    async def freeze(self, *, after=0):
        """Let nothing through any more, after so many pieces of what the server says: mostly, each is an answer."""
        self.pieces_left = after
        if not after:
            self.flowing.clear()

    async def thaw(self):
        self.flowing.set()

    async def serve(self, reader, writer):
        there, back = await asyncio.open_connection(self.target.host, self.target.port)
        self.writers |= {writer, back}
        try:
            await asyncio.gather(self.forward(reader, back), self.forward(there, writer, lag=self.lag, counts=True))
        except OSError:
            pass  # cut
        finally:
            self.writers -= {writer, back}
            writer.transport.abort()
            back.transport.abort()

    async def forward(self, reader, writer, *, lag=0.0, counts=False):
        while data := await reader.read(65_536):
            if lag:
                await asyncio.sleep(lag)
            await self.flowing.wait()
            writer.write(data)
            await writer.drain()
            if counts and self.pieces_left:
                self.pieces_left -= 1
                if not self.pieces_left:
                    self.flowing.clear()
        writer.transport.abort()


@asynccontextmanager
async def line_to(target, *, lag=0.0):
    line = Line(target, lag)
    await line.restore()
    try:
        yield line
    finally:
        await line.thaw()
        await line.cut()
