"""One reader of dead letters at a time, among all gateways: what one has in hand, another would not see."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from shared.contracts.errors import UnavailableError, unavailable
from shared.database import Database

PATIENCE = 10.0  # seconds; a reader needs one or two
RETRY_SECONDS = 0.1

_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('weft.dead-letters', 0))"


class ReadingLock:
    """Lets one reader in after the other; a reader whose gateway was killed is out as soon as PostgreSQL knows it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Within this process nobody waits on a connection to the database: there are few.
        self._here = asyncio.Lock()

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[None]:
        """Return when it is one's turn; raise UnavailableError `dead_letters_busy`, or `database_unavailable`."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._here.acquire()
        except TimeoutError as err:
            raise _busy() from err
        try:
            async with self._database.session() as session:
                deadline = asyncio.get_running_loop().time() + PATIENCE
                while not await session.fetchval(_LOCK):
                    if asyncio.get_running_loop().time() > deadline:
                        raise _busy()
                    await asyncio.sleep(RETRY_SECONDS)
                yield
        finally:
            self._here.release()


def _busy() -> UnavailableError:
    return unavailable(
        "dead_letters_busy",
        f"somebody else has been reading dead letters for {PATIENCE:.0f} s",
        fix="try again: nothing was done",
    )
