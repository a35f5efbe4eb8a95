"""Work on the database that is waited for while the database is away: a call that was paid for is not to be lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from structlog import get_logger

from shared.contracts.errors import UnavailableError

T = TypeVar("T")

FIRST_PAUSE = 0.1  # seconds between attempts; doubles up to the last
LAST_PAUSE = 2.0

log = get_logger(__name__)


async def patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Return what the work returns, which is done again and again while the database is away."""
    pause = FIRST_PAUSE
    while True:
        try:
            return await work()
        except UnavailableError as err:
            log.warning("the ledger waits for the database", reason=str(err), pause=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LAST_PAUSE)
