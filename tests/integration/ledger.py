"""What tests of the ledger share: providers, calls, and what the tables say."""

import asyncio
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg

from llm_worker.domain.model import ModelCall, ModelReply, ModelRequest
from llm_worker.domain.provider import Limits, Provider
from llm_worker.opening import open_calls
from shared.contracts.events import Usage

PATIENCE = 20.0


def provider(name="offline", *, concurrency=100, **limits):
    return Provider(
        name=name, base_url="http://127.0.0.1:1/v1", models=("*",), limits=Limits(concurrency=concurrency, **limits)
    )


def call(asked=None, *, model="small", number=1, run_id=None, workflow_id=None, max_output_tokens=100):
    request = ModelRequest(model, None, "how many?", (), max_output_tokens)
    return ModelCall(run_id or uuid4(), "ask", 1, number, workflow_id, asked or provider(), request)


def reply(text="three", **usage):
    return ModelReply(text=text, usage=Usage(model="small", **usage), finish_reason="stop")


class Model:
    """Answers with what it was given, and counts how often it was asked."""

    def __init__(self, *answers):
        self.answers = answers or (reply(),)
        self.asked = 0

    async def __call__(self):
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return answer


class HeldModel(Model):
    """Answers when it is released; tells how many wait for that."""

    def __init__(self, *answers):
        super().__init__(*answers)
        self.released = asyncio.Event()
        self.changed = asyncio.Condition()

    async def __call__(self):
        answer = await super().__call__()
        async with self.changed:
            self.changed.notify_all()
        await self.released.wait()
        return answer

    async def wait_asked(self, times=1):
        async with asyncio.timeout(PATIENCE), self.changed:
            await self.changed.wait_for(lambda: self.asked >= times)


@asynccontextmanager
async def worker(settings, *providers):
    """Yield the calls of a worker of its own."""
    async with open_calls(settings, providers or (provider(),)) as opened:
        yield opened.calls


@asynccontextmanager
async def connected(settings):
    """Yield a connection with all rights."""
    connection = await asyncpg.connect(settings.database_url)
    try:
        yield connection
    finally:
        await connection.close()


async def fetch(settings, query, *arguments):
    async with connected(settings) as connection:
        return [dict(row) for row in await connection.fetch(query, *arguments)]


async def rows(settings, *columns):
    return await fetch(settings, f"SELECT {', '.join(columns)} FROM llm_worker.call ORDER BY started_at")


async def statuses(settings):
    return [row["status"] for row in await rows(settings, "status")]


async def until(holds):
    """Return as soon as something holds, which asks the database each time."""
    async with asyncio.timeout(PATIENCE):
        while not await holds():
            pass
