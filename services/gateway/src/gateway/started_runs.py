"""The starts that their callers named: the only code that touches the table `started_run`."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import asyncpg
from structlog import get_logger

from gateway.patience import Patience
from shared.contracts.commands import RunStart
from shared.contracts.errors import UnavailableError
from shared.contracts.owners import LOCAL_OWNER
from shared.database import Database

KEPT = timedelta(days=89)  # the orchestrator knows its runs a day longer
PRUNE_EVERY = 3600.0  # seconds
PRUNED_AT_ONCE = 500  # rows of up to 4 MB each

_FIND = "SELECT * FROM gateway.started_run WHERE run_id = $1 OR trigger_run_id = $2 AND owner = $3"
_INSERT = """
INSERT INTO gateway.started_run (run_id, trigger_run_id, owner, request_digest, command) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING RETURNING true
"""
_INSERT_ALL = """
INSERT INTO gateway.started_run (run_id, owner, request_digest, command)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[]) ORDER BY 1
ON CONFLICT DO NOTHING RETURNING run_id
"""
_FIND_ALL = "SELECT * FROM gateway.started_run WHERE run_id = ANY($1::uuid[])"
_PRUNE = """
WITH old AS (SELECT run_id FROM gateway.started_run WHERE created_at < now() - $1::interval LIMIT $2),
gone AS (DELETE FROM gateway.started_run USING old WHERE started_run.run_id = old.run_id RETURNING 1)
SELECT count(*) FROM gone
"""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A start: the command, and the digest of the request that it was made for."""

    command: RunStart
    digest: str


class StartedRuns:
    """Keeps starts and finds them, for `KEPT`, whichever gateway asks: each run id once, each owner's trigger id once.

    Every method raises `database_unavailable` while the database is away.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._patience = Patience()

    async def find(self, run_id: UUID | None, trigger_run_id: str | None, owner: str) -> tuple[StartedRun, ...]:
        """Return the starts with that run id, whosever, or with that trigger id of the owner's: two at most."""
        return tuple(map(_started, await self._patience.in_time(self._find(run_id, trigger_run_id, owner))))

    async def add(self, started: StartedRun) -> bool:
        """Keep a start, and tell whether it is kept: not if its run id or its trigger id is another one's."""
        return await self._patience.in_time(self._insert(started))

    async def find_all(self, run_ids: Sequence[UUID]) -> Mapping[UUID, StartedRun]:
        """Return the starts with these run ids, whosever."""
        return await self._patience.in_time(self._find_all(run_ids))

    async def add_all(self, started: Sequence[StartedRun]) -> Mapping[UUID, StartedRun]:
        """Keep starts without trigger ids; return those that were kept before under the same run ids."""
        return await self._patience.in_time(self._insert_all(started)) if started else {}

    async def prune(self) -> int:
        """Remove what is older than `KEPT`; return how many starts that were."""
        pruned = batch = await self._prune_batch()
        while batch == PRUNED_AT_ONCE:
            batch = await self._prune_batch()
            pruned += batch
        return pruned

    async def keep_pruned(self) -> None:
        """Prune now and then, until cancelled."""
        while True:
            try:
                if pruned := await self.prune():
                    log.info("starts pruned", count=pruned)
            except UnavailableError as err:
                log.warning("starts not pruned, will be tried again", reason=str(err))
            await asyncio.sleep(PRUNE_EVERY)

    async def _find(self, run_id: UUID | None, trigger_run_id: str | None, owner: str) -> list[asyncpg.Record]:
        async with self._database.transaction() as connection:
            return await connection.fetch(_FIND, run_id, trigger_run_id, owner)

    async def _insert(self, started: StartedRun) -> bool:
        command = started.command
        async with self._database.transaction() as connection:
            inserted = await connection.fetchval(
                *(_INSERT, command.run_id, command.trigger_run_id, command.owner or LOCAL_OWNER),
                *(started.digest, command.to_json()),
            )
        return bool(inserted)

    async def _insert_all(self, started: Sequence[StartedRun]) -> Mapping[UUID, StartedRun]:
        rows = [
            (item.command.run_id, item.command.owner or LOCAL_OWNER, item.digest, item.command.to_json())
            for item in started
        ]
        async with self._database.transaction() as connection:
            added = await connection.fetch(_INSERT_ALL, *map(list, zip(*rows, strict=True)))
            before = {row[0] for row in rows} - {row["run_id"] for row in added}
            kept = await connection.fetch(_FIND_ALL, list(before)) if before else []
        return {row["run_id"]: _started(row) for row in kept}

    async def _find_all(self, run_ids: Sequence[UUID]) -> Mapping[UUID, StartedRun]:
        async with self._database.transaction() as connection:
            rows = await connection.fetch(_FIND_ALL, run_ids)
        return {row["run_id"]: _started(row) for row in rows}

    async def _prune_batch(self) -> int:
        async with self._database.transaction() as connection:
            return await connection.fetchval(_PRUNE, KEPT, PRUNED_AT_ONCE)


def _started(row: asyncpg.Record) -> StartedRun:
    return StartedRun(RunStart.model_validate_json(row["command"]), row["request_digest"])
