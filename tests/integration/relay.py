"""A way to the broker that can fall silent, as a network does that drops everything without a word."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from yarl import URL


class Relay:
    """Passes everything on, what the broker says `lag` seconds later, until it falls silent: then nothing of that."""

    def __init__(self, broker: URL, lag: float) -> None:
        self._broker = broker
        self._lag = lag
        self._passing: float = float("inf")  # how many more pieces of what the broker says come through
        self._ways: set[asyncio.StreamWriter] = set()

    def fall_silent(self, *, after: int = 0) -> None:
        """Let so many more pieces through (mostly, each is an answer of the broker), and then nothing."""
        self._passing = after

    def recover(self) -> None:
        """Let everything through again."""
        self._passing = float("inf")

    def cut(self) -> None:
        """Close all connections."""
        for way in self._ways:
            way.close()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        answers, questions = await asyncio.open_connection(self._broker.host, self._broker.port)
        self._ways |= {writer, questions}
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._ask(reader, questions))
                both.create_task(self._answer(answers, writer))
        except* OSError:
            pass  # one side is gone

    async def _ask(self, reader: asyncio.StreamReader, questions: asyncio.StreamWriter) -> None:
        while asked := await reader.read(65536):
            questions.write(asked)
        questions.close()

    async def _answer(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while answered := await answers.read(65536):
            await asyncio.sleep(self._lag)
            if self._passing > 0:
                self._passing -= 1
                writer.write(answered)
        writer.close()


@asynccontextmanager
async def relay_to(broker: str, *, lag: float = 0.0) -> AsyncGenerator[tuple[Relay, str]]:
    """Yield a relay, and its address in place of the broker's."""
    relay = Relay(URL(broker), lag)
    async with await asyncio.start_server(relay.connect, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        try:
            yield relay, str(URL(broker).with_host("127.0.0.1").with_port(port))
        finally:
            relay.cut()
