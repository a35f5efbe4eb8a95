"""What a worker does with a backlog of jobs while the broker falls silent in the middle of a question."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from yarl import URL

from shared.contracts.commands import NodeExecute
from shared.embedded.processes import free_port
from shared.messaging.connection import connect
from shared.messaging.requests import Requests
from shared.worker.backlog import PATIENCE, Backlog

ANSWERS = 3  # of the broker to a look at a queue: to the channel, to its confirms, to the queue


class Relay:
    """A way to the broker on which, from some moment on, only so many more of its answers come through."""

    def __init__(self, broker: URL) -> None:
        self._broker = broker
        self._left: float = float("inf")
        self._ways: set[asyncio.StreamWriter] = set()

    def fall_silent(self, *, after: int) -> None:
        self._left = after

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, questions = await asyncio.open_connection(self._broker.host, self._broker.port)
        self._ways |= {writer, questions}
        async with asyncio.TaskGroup() as both:
            both.create_task(self._ask(reader, questions))
            both.create_task(self._answer(answers, writer))

    def cut(self) -> None:
        for way in self._ways:
            way.close()

    async def _ask(self, reader: asyncio.StreamReader, questions: asyncio.StreamWriter) -> None:
        while asked := await reader.read(65536):
            questions.write(asked)

    async def _answer(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while answered := await answers.read(65536):
            if self._left > 0:
                self._left -= 1
                writer.write(answered)


@asynccontextmanager
async def relay_to(broker: str) -> AsyncGenerator[tuple[Relay, str]]:
    relay, port = Relay(URL(broker)), free_port()
    async with await asyncio.start_server(relay.connected, "127.0.0.1", port):
        try:
            yield relay, str(URL(broker).with_host("127.0.0.1").with_port(port))
        finally:
            relay.cut()


@pytest.mark.parametrize("answers", range(ANSWERS))
async def test_a_job_is_done_though_the_broker_does_not_say_whether_anybody_can_be_asked(stack, answers):
    job = NodeExecute(run_id=uuid4(), node_id="ask", node_type="llm")
    async with relay_to(stack.amqp_url) as (relay, url), connect(url, name="test", patience=5) as connection:
        requests = await Requests.start(await connection.channel(), asker="test")
        backlog = Backlog(connection, requests)
        relay.fall_silent(after=answers)
        async with asyncio.timeout(5 * PATIENCE):
            assert await backlog.is_wanted(job, datetime.now(UTC))
        relay.cut()  # else the connection would wait for the broker to answer to its end
