"""Which worker processes live: each holds a lock in the database for as long as it does.

PostgreSQL gives the lock up in the moment the process, or its connection, is gone. What a dead worker has left open is
closed by the others.
"""

import asyncio

from structlog import get_logger

from llm_worker.patience import LAST_PAUSE
from shared.contracts.errors import UnavailableError
from shared.database import Connection, Database

SWEEP_SECONDS = 5.0

# Any number that no other user of two-part advisory locks in the database takes for its own.
_LOCKS = 0x5746_4C57
LIVING = f"""
SELECT objid::bigint FROM pg_catalog.pg_locks
WHERE locktype = 'advisory' AND classid = {_LOCKS} AND objsubid = 2 AND granted
AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
"""  # noqa: S608 - a constant
_NEXT_WORKER = "SELECT nextval('llm_worker.worker_id')"
_SIGN_IN = f"SELECT pg_try_advisory_lock({_LOCKS}, $1::integer)"
_CLOSE_CALLS = f"""
UPDATE llm_worker.call SET status = 'unknown', finished_at = now()
WHERE status = 'started' AND worker NOT IN ({LIVING})
"""  # noqa: S608 - constants
_TAKE_PERMITS_BACK = f"DELETE FROM llm_worker.permit WHERE worker NOT IN ({LIVING})"  # noqa: S608 - constants

log = get_logger(__name__)


class Presence:
    """This process's sign that it lives, and its look at who else does."""

    def __init__(self, database: Database, worker: int) -> None:
        self._database = database
        self.worker = worker
        self._present = asyncio.Event()

    @classmethod
    async def of_new_worker(cls, database: Database) -> "Presence":
        """Return the presence of a worker with a number of its own."""
        async with database.transaction() as connection:
            return cls(database, await connection.fetchval(_NEXT_WORKER))

    async def wait(self) -> None:
        """Return once others can see that this process lives."""
        await self._present.wait()

    async def run(self) -> None:
        """Be present for ever; after the connection was lost, again as soon as there is one."""
        while True:
            try:
                async with self._database.session() as connection:
                    await self._be_present(connection)
            except UnavailableError as err:
                self._present.clear()
                log.warning("not present, will be again", worker=self.worker, reason=str(err))
                await asyncio.sleep(LAST_PAUSE)

    async def _be_present(self, connection: Connection) -> None:
        while True:
            # Again each time: a session of ours that PostgreSQL has not yet found dead may hold it still.
            await connection.fetchval(_SIGN_IN, self.worker)
            self._present.set()
            await connection.execute(_CLOSE_CALLS)
            await connection.execute(_TAKE_PERMITS_BACK)
            await asyncio.sleep(SWEEP_SECONDS)
