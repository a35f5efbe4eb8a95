"""The journal in PostgreSQL: all that the orchestrator must not forget of the runs that are under way.

`journal(run_id, seq, event)` is append-only. The row of a run in `run` is its lock: whoever holds it may append,
after having read what others appended. It outlives the journal, so that an old start command starts nothing new.
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from pydantic import Field, TypeAdapter

from orchestrator.domain.evolve import evolve
from orchestrator.domain.state import JournalEvent, RunState
from shared.database import Connection, Database

MAX_KNOWN = 10_000  # runs whose state is kept in memory; the least recently touched is replayed when it is needed

_read_event = TypeAdapter[JournalEvent](Annotated[JournalEvent, Field(discriminator="kind")]).validate_json

_CREATE = "INSERT INTO orchestrator.run (run_id) SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING"
_LOCK = """
SELECT run_id, finished_at IS NOT NULL AS finished
FROM orchestrator.run WHERE run_id = ANY($1::uuid[]) ORDER BY run_id FOR UPDATE
"""
_READ = """
SELECT journal.run_id, seq, event
FROM orchestrator.journal
JOIN unnest($1::uuid[], $2::int[]) AS known (run_id, last_seq) USING (run_id)
WHERE seq > last_seq ORDER BY journal.run_id, seq
"""
_APPEND = """
INSERT INTO orchestrator.journal (run_id, seq, event)
SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[]::jsonb[])
"""
_FINISH = "UPDATE orchestrator.run SET finished_at = now() WHERE run_id = ANY($1::uuid[]) AND finished_at IS NULL"
_UNFINISHED = "SELECT run_id FROM orchestrator.run WHERE finished_at IS NULL ORDER BY run_id"
_PRUNE = """
DELETE FROM orchestrator.journal USING orchestrator.run
WHERE journal.run_id = run.run_id AND run.finished_at < now() - $1::interval
"""


@dataclass(slots=True)
class JournaledRun:
    """A run as its journal tells it, up to and including `seq`; `state` is None while nothing is journaled."""

    state: RunState | None = None
    seq: int = 0
    finished: bool = False
    unwritten: list[JournalEvent] = field(default_factory=list[JournalEvent])

    @property
    def pruned(self) -> bool:
        """Whether the run ended so long ago that its journal is gone."""
        return self.finished and self.state is None

    def advance(self, state: RunState | None, event: JournalEvent) -> None:
        """Take over an accepted event; it is written when the transaction ends."""
        self.state = state
        self.unwritten.append(event)


class Journal:
    """Reads and appends the journals of many runs in one transaction.

    Keeps the states of runs that are under way, so that usually only what other replicas wrote is read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[UUID, JournaledRun] = {}

    @asynccontextmanager
    async def runs(self, run_ids: Iterable[UUID], new: Iterable[UUID]) -> AsyncGenerator[dict[UUID, JournaledRun]]:
        """Yield the locked runs that exist, those in `new` among them; commit what was advanced on leaving."""
        wanted = sorted(set(run_ids))
        async with self._database.transaction() as connection:
            if created := sorted(set(new)):
                await connection.execute(_CREATE, created)
            runs = await self._lock(connection, wanted)
            await self._catch_up(connection, runs)
            yield runs
            await self._append(connection, runs)
        self._keep(runs)

    async def unfinished(self) -> list[UUID]:
        """Return the runs that are under way, on whatever replica."""
        async with self._database.transaction() as connection:
            return [row["run_id"] for row in await connection.fetch(_UNFINISHED)]

    async def prune(self, grace: timedelta) -> None:
        """Delete the journals of runs that finished longer ago than `grace`."""
        async with self._database.transaction() as connection:
            await connection.execute(_PRUNE, grace)

    async def _lock(self, connection: Connection, run_ids: Sequence[UUID]) -> dict[UUID, JournaledRun]:
        runs: dict[UUID, JournaledRun] = {}
        for row in await connection.fetch(_LOCK, run_ids):
            # What is finished may have been pruned since; then the journal says so, and memory does not.
            known = None if row["finished"] else self._known.get(row["run_id"])
            known = known or JournaledRun()
            # A copy: what is kept stays as it is if this transaction fails.
            runs[row["run_id"]] = JournaledRun(known.state, known.seq, row["finished"])
        return runs

    async def _catch_up(self, connection: Connection, runs: dict[UUID, JournaledRun]) -> None:
        rows = await connection.fetch(_READ, list(runs), [run.seq for run in runs.values()])
        for row in rows:
            run = runs[row["run_id"]]
            run.state = evolve(run.state, _read_event(row["event"]))
            run.seq = row["seq"]

    async def _append(self, connection: Connection, runs: dict[UUID, JournaledRun]) -> None:
        rows = [
            (run_id, run.seq + offset, event.to_json().decode())
            for run_id, run in runs.items()
            for offset, event in enumerate(run.unwritten, start=1)
        ]
        if rows:
            await connection.execute(_APPEND, *map(list, zip(*rows, strict=True)))
        finished = [run_id for run_id, run in runs.items() if run.state and run.state.finished_by]
        if finished:
            await connection.execute(_FINISH, finished)

    def _keep(self, runs: dict[UUID, JournaledRun]) -> None:
        for run_id, run in runs.items():
            self._known.pop(run_id, None)
            if run.state and not run.state.finished_by:
                self._known[run_id] = JournaledRun(run.state, run.seq + len(run.unwritten))
        while len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]
