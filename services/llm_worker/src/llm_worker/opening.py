"""The ledger and the limits, connected: what the llm worker's process has besides its clients."""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from prometheus_client import CollectorRegistry
from structlog import get_logger

from llm_worker.calls import LedgeredCalls, Line
from llm_worker.costs import Costs
from llm_worker.domain.breaker import Breaker
from llm_worker.domain.provider import Provider
from llm_worker.ledger import Ledger
from llm_worker.permits import PermitDesk
from llm_worker.presence import Presence
from llm_worker.queries import CostsHandler
from llm_worker.telemetry import watch_breakers
from shared.contracts.errors import UnavailableError
from shared.database import Database, connect_database
from shared.messaging.connection import connect
from shared.messaging.queries import answering
from shared.service import Check
from shared.settings import Settings
from shared.topology import COSTS_QUEUE

NAME = "llm_worker"
ROLE = "weft_llm_worker"
CONNECTIONS = 6
PRUNE_SECONDS = 600.0

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OpenCalls:
    """What the worker's process needs: `calls` for its jobs, `checks` to be ready, `failure` behind its HTTP side."""

    calls: LedgeredCalls
    checks: Sequence[Check]
    failure: Callable[[], Awaitable[None]]


@asynccontextmanager
async def open_calls(
    settings: Settings, providers: Iterable[Provider], registry: CollectorRegistry | None = None
) -> AsyncGenerator[OpenCalls]:
    """Yield the ledgered calls of these providers; on leaving, what is to be written down is, as far as possible.

    Raises UnavailableError if the database or the broker is not there. `failure` ends if something behind the calls
    has, with its error.
    """
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(_connect(settings))
        presence = await Presence.of_new_worker(database)
        desks = [PermitDesk(provider, database, presence) for provider in providers]
        for desk in desks:
            await desk.open()
        ledger = Ledger(database, presence, worker_name=f"{socket.gethostname()}:{os.getpid()}")
        stack.push_async_callback(_close_desks, desks)
        running = await stack.enter_async_context(
            _running(presence.run, *(desk.run for desk in desks), lambda: _prune_forever(ledger, settings))
        )
        lines = [_line(desk) for desk in desks]
        watch_breakers(((line.provider.name, line.breaker) for line in lines), registry)
        calls = LedgeredCalls(ledger, lines)
        stack.push_async_callback(calls.close)
        await _answer_queries(stack, settings, database)
        yield OpenCalls(calls, [Check("database", database.answers)], lambda: _first_end(running))


def _connect(settings: Settings) -> AbstractAsyncContextManager[Database]:
    return connect_database(
        settings.require("database_url"),
        name=NAME,
        patience=settings.startup_timeout,
        schema=NAME,
        role=ROLE,
        connections=CONNECTIONS,
    )


def _line(desk: PermitDesk) -> Line:
    return Line(desk.provider, desk, Breaker(asyncio.get_running_loop().time))


async def _answer_queries(stack: AsyncExitStack, settings: Settings, database: Database) -> None:
    # Only our own way to connect waits for a broker that is starting, and says what is wrong.
    async with connect(settings.require("amqp_url"), name=f"{NAME} queries", patience=settings.startup_timeout):
        answers = CostsHandler(Costs(database)).handle
        await stack.enter_async_context(answering(COSTS_QUEUE, answers, settings, app_id=NAME))


@asynccontextmanager
async def _running(*endless: Callable[[], Awaitable[None]]) -> AsyncGenerator[Sequence["asyncio.Future[None]"]]:
    """Have these run until the block is left."""
    tasks = [asyncio.ensure_future(start()) for start in endless]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _first_end(tasks: Sequence["asyncio.Future[None]"]) -> None:
    """Return, or raise, as the first of these does; they go on if it is not waited for any more."""
    ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in ended:
        task.result()


async def _close_desks(desks: Iterable[PermitDesk]) -> None:
    for desk in desks:
        await desk.close()


async def _prune_forever(ledger: Ledger, settings: Settings) -> None:
    replies, rows = timedelta(days=settings.replies_max_days), timedelta(days=settings.ledger_max_days)
    while True:
        try:
            while await ledger.prune(replies=replies, rows=rows):
                pass
        except UnavailableError as err:
            log.warning("nothing pruned, will be later", reason=str(err))
        await asyncio.sleep(PRUNE_SECONDS)
