"""Whose turn it is: of all runs with a concurrency key as many as each allows, in the order of their arrival."""

from collections.abc import Iterable
from uuid import UUID

from shared.database import Database

# Held until the transaction ends, so that two replicas do not admit one run too many.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('weft.concurrency/' || $1, 0))"
_ADMIT = """
WITH going AS (
    SELECT count(*) AS count FROM orchestrator.run
    WHERE concurrency_key = $1 AND admitted_at IS NOT NULL AND finished_at IS NULL
),
waiting AS (
    SELECT run_id, concurrency_limit, row_number() OVER (ORDER BY arrival) AS place FROM orchestrator.run
    WHERE concurrency_key = $1 AND admitted_at IS NULL AND finished_at IS NULL
),
turn AS (
    SELECT run_id FROM orchestrator.run WHERE run_id IN (
        SELECT run_id FROM waiting, going WHERE going.count + waiting.place <= waiting.concurrency_limit
    ) ORDER BY run_id FOR UPDATE
)
UPDATE orchestrator.run SET admitted_at = now() FROM turn WHERE run.run_id = turn.run_id RETURNING run.run_id
"""
_WAITED_FOR = """
SELECT DISTINCT concurrency_key FROM orchestrator.run
WHERE concurrency_key IS NOT NULL AND admitted_at IS NULL AND finished_at IS NULL
"""
_PLACE = """
SELECT count(*) FROM orchestrator.run AS other JOIN orchestrator.run AS own USING (concurrency_key)
WHERE own.run_id = $1 AND other.admitted_at IS NULL AND other.finished_at IS NULL AND other.arrival <= own.arrival
"""


class Admission:
    """Lets runs begin whose turn has come."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def admit(self, keys: Iterable[str]) -> list[UUID]:
        """Return the runs whose turn has come now. Who dies before they are told leaves that to the reconciler."""
        admitted: list[UUID] = []
        for key in sorted(set(keys)):
            async with self._database.transaction() as connection:
                await connection.execute(_LOCK, key)
                admitted += [row["run_id"] for row in await connection.fetch(_ADMIT, key)]
        return admitted

    async def waited_for(self) -> list[str]:
        """Return the keys that runs wait for."""
        async with self._database.transaction() as connection:
            return [row["concurrency_key"] for row in await connection.fetch(_WAITED_FOR)]

    async def place(self, run_id: UUID) -> int:
        """Return a waiting run's place among those with its key, from 1."""
        async with self._database.transaction() as connection:
            return await connection.fetchval(_PLACE, run_id)
