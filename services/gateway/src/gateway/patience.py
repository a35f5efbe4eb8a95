"""Work on the database that a request waits for, but not for long."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from structlog import get_logger

from shared.contracts.errors import unavailable

T = TypeVar("T")

PATIENCE = 4.0  # seconds; a request must not wait longer for a database that hangs

log = get_logger(__name__)


class Patience:
    """Awaits work on the database, for `PATIENCE` at the longest."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[Any]] = set()

    async def in_time(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what the work returns; raise UnavailableError `database_unavailable` if it takes too long.

        The end of what is cancelled then is not waited for: asyncpg takes its time to part from a dead line.
        """
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._forget)
        await asyncio.wait([task], timeout=PATIENCE)
        if not task.done():
            task.cancel()
            raise unavailable("database_unavailable", f"PostgreSQL did not answer within {PATIENCE:.0f} s")
        return task.result()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (err := task.exception()):
            log.info("a transaction failed", reason=str(err))
