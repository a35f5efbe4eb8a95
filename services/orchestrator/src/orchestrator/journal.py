"""The journal in PostgreSQL: all that the orchestrator must not forget of the runs that are under way.

`journal(run_id, seq, event)` is append-only. The row of a run in `run` is its lock: whoever holds it may append,
after having read what others appended. It outlives the journal, so that an old start command starts nothing new.
`trigger` says to which run a `triggerRunId` belongs.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from pydantic import Field, TypeAdapter

from orchestrator.domain.evolve import evolve
from orchestrator.domain.state import JournalEvent, RunState
from shared.contracts.base import QUIET
from shared.contracts.commands import RunStart
from shared.database import ConflictError, Connection, Database

PRUNED_AT_ONCE = 200  # runs
WARY_BATCHES = 50  # after somebody else has written of a run first, so many batches are not written from memory
MAX_KNOWN = 10_000  # runs whose state is kept in memory; the least recently touched is replayed when it is needed

_Event = Annotated[JournalEvent, Field(discriminator="kind")]
_read_event = TypeAdapter[JournalEvent](_Event, config=QUIET).validate_json

_CLAIM = """
INSERT INTO orchestrator.trigger (trigger_run_id, run_id, digest)
SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[]) ON CONFLICT DO NOTHING
"""
_OWNERS = "SELECT trigger_run_id, run_id, digest FROM orchestrator.trigger WHERE trigger_run_id = ANY($1::text[])"
_CREATE = """
INSERT INTO orchestrator.run (run_id, concurrency_key, concurrency_limit)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::int[]) ON CONFLICT DO NOTHING
"""
_LOCK = """
SELECT run_id, finished_at IS NOT NULL AS finished, admitted_at IS NOT NULL AS admitted
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
SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[]::json[])
"""
# All in one statement, of runs whose state is known. Where it is not the latest any more, a key is there already; where
# a run is gone, a NULL is not allowed: then nothing is written.
_WRITE = """
WITH named AS (
    INSERT INTO orchestrator.trigger (trigger_run_id, run_id, digest)
    SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[])
),
created AS (
    INSERT INTO orchestrator.run (run_id, concurrency_key, concurrency_limit, finished_at)
    SELECT run_id, key, most, CASE WHEN run_id = ANY($8::uuid[]) THEN now() END
    FROM unnest($4::uuid[], $5::text[], $6::int[]) AS new (run_id, key, most) RETURNING run_id
),
locked AS (SELECT run_id FROM orchestrator.run WHERE run_id = ANY($7::uuid[]) ORDER BY run_id FOR UPDATE),
finished AS (UPDATE orchestrator.run SET finished_at = now() WHERE run_id = ANY($8::uuid[]))
INSERT INTO orchestrator.journal (run_id, seq, event)
SELECT owned.run_id, seq, event
FROM unnest($9::uuid[], $10::int[], $11::text[]::json[]) AS new (run_id, seq, event)
LEFT JOIN (SELECT run_id FROM created UNION ALL SELECT run_id FROM locked) AS owned USING (run_id)
"""
_FINISH = "UPDATE orchestrator.run SET finished_at = now() WHERE run_id = ANY($1::uuid[]) AND finished_at IS NULL"
_UNFINISHED = "SELECT run_id FROM orchestrator.run WHERE finished_at IS NULL ORDER BY run_id"
_PRUNE = """
DELETE FROM orchestrator.journal WHERE run_id IN (
    SELECT DISTINCT journal.run_id FROM orchestrator.journal JOIN orchestrator.run USING (run_id)
    WHERE run.finished_at < now() - $1::interval LIMIT $2
)
"""
_FORGET = """
WITH old AS (SELECT run_id FROM orchestrator.run WHERE finished_at < now() - $1::interval LIMIT $2),
named AS (DELETE FROM orchestrator.trigger USING old WHERE trigger.run_id = old.run_id)
DELETE FROM orchestrator.run USING old WHERE run.run_id = old.run_id
"""


@dataclass(frozen=True, slots=True)
class Owner:
    """The run that a `triggerRunId` belongs to, and whether it was started with the same content."""

    run_id: UUID
    same: bool


@dataclass(slots=True)
class JournaledRun:
    """A run as its journal tells it, up to and including `seq`; `state` is None while nothing is journaled.

    `admitted` says that its turn has come, where it waits for others with its concurrency key.
    """

    state: RunState | None = None
    seq: int = 0
    finished: bool = False
    admitted: bool = False
    unwritten: list[JournalEvent] = field(default_factory=list[JournalEvent])

    @property
    def pruned(self) -> bool:
        """Whether the run ended so long ago that its journal is gone."""
        return self.finished and self.state is None

    def advance(self, state: RunState | None, event: JournalEvent) -> None:
        """Take over an accepted event; it is written when the transaction ends."""
        self.state = state
        self.unwritten.append(event)


@dataclass(frozen=True, slots=True)
class LockedRuns:
    """Runs that nobody else can change until the transaction on `connection` ends.

    `owners` names, for starts whose `triggerRunId` belongs to another run, that run; theirs do not exist.
    """

    connection: Connection
    runs: Mapping[UUID, JournaledRun]
    owners: Mapping[UUID, Owner]


class Journal:
    """Reads and appends the journals of many runs in one transaction.

    Keeps the states of runs that are under way: as long as nobody else writes of them, nothing has to be read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[UUID, JournaledRun] = {}
        self._in_flight = 0
        self._wary = 0

    @property
    def in_flight(self) -> int:
        """How many jobs are with workers or in their queues, as far as this process knows."""
        return self._in_flight

    def recall(self, run_ids: Iterable[UUID], starts: Sequence[RunStart] = ()) -> dict[UUID, JournaledRun] | None:
        """Return the runs as far as this process knows, those of `starts` among them, to be advanced and written.

        None where that cannot be all, or is not likely to be the latest.
        """
        if self._wary:
            self._wary -= 1
            return None
        runs: dict[UUID, JournaledRun] = {}
        starting = {start.run_id for start in starts}
        for run_id in set(run_ids):
            known = self._known.get(run_id) or (JournaledRun() if run_id in starting else None)
            if known is None:
                return None
            runs[run_id] = JournaledRun(known.state, known.seq)
        return runs

    async def write(self, runs: Mapping[UUID, JournaledRun], starts: Sequence[RunStart] = ()) -> bool:
        """Commit what recalled runs were advanced by; return False where others wrote first: then nothing is written.

        One statement, where `lock` takes a transaction of five: so it is worth trying, as long as nobody else writes.
        """
        assert all(run.unwritten for run in runs.values()), "of the others it would not be noticed that they are stale"
        created = [start for start in starts if runs[start.run_id].seq == 0]
        locked = [run_id for run_id, run in runs.items() if run.seq]
        columns = (*_named(created), *_limited(created), locked, _finished(runs), *_appended(runs))
        wary, self._wary = self._wary, WARY_BATCHES
        try:
            await self._database.execute(_WRITE, *columns)
        except ConflictError:
            return False
        self._wary = wary
        self._keep(runs)
        return True

    @asynccontextmanager
    async def lock(self, run_ids: Iterable[UUID], starts: Sequence[RunStart] = ()) -> AsyncGenerator[LockedRuns]:
        """Yield the runs that exist, those of `starts` among them; commit what was advanced on leaving."""
        wanted = sorted(set(run_ids))
        async with self._database.transaction() as connection:
            owners = await _claim(connection, starts)
            await _create(connection, [start for start in starts if start.run_id not in owners])
            runs = await self._lock(connection, wanted)
            await self._catch_up(connection, runs)
            yield LockedRuns(connection, runs, owners)
            await self._append(connection, runs)
        self._keep(runs)

    async def unfinished(self) -> list[UUID]:
        """Return the runs that are under way, on whatever replica; of those that others ended nothing is kept."""
        known = list(self._known)
        async with self._database.transaction() as connection:
            run_ids = [row["run_id"] for row in await connection.fetch(_UNFINISHED)]
        unfinished = set(run_ids)
        for run_id in known:
            if run_id not in unfinished:
                self._forget(run_id)
        return run_ids

    async def prune(self, journals: timedelta, runs: timedelta) -> None:
        """Delete the journals of runs that finished longer ago than `journals`, all of those older than `runs`."""
        await self._delete_in_turns(_PRUNE, journals)
        await self._delete_in_turns(_FORGET, runs)

    async def _delete_in_turns(self, statement: str, age: timedelta) -> None:
        """Delete what is older, some runs at a time: after a long outage a single statement would take too long."""
        deleted = True
        while deleted:
            async with self._database.transaction() as connection:
                status = await connection.execute(statement, age, PRUNED_AT_ONCE)
            deleted = not status.endswith(" 0")

    async def _lock(self, connection: Connection, run_ids: Sequence[UUID]) -> dict[UUID, JournaledRun]:
        runs: dict[UUID, JournaledRun] = {}
        for row in await connection.fetch(_LOCK, run_ids):
            # What is finished may have been pruned since; then the journal says so, and memory does not.
            known = None if row["finished"] else self._known.get(row["run_id"])
            known = known or JournaledRun()
            # A copy: what is kept stays as it is if this transaction fails.
            runs[row["run_id"]] = JournaledRun(known.state, known.seq, row["finished"], row["admitted"])
        return runs

    async def _catch_up(self, connection: Connection, runs: dict[UUID, JournaledRun]) -> None:
        rows = await connection.fetch(_READ, list(runs), [run.seq for run in runs.values()])
        for row in rows:
            run = runs[row["run_id"]]
            run.state = evolve(run.state, _read_event(row["event"]))
            run.seq = row["seq"]

    async def _append(self, connection: Connection, runs: dict[UUID, JournaledRun]) -> None:
        if any(run.unwritten for run in runs.values()):
            await connection.execute(_APPEND, *_appended(runs))
        if finished := _finished(runs):
            await connection.execute(_FINISH, finished)

    def _keep(self, runs: Mapping[UUID, JournaledRun]) -> None:
        for run_id, run in runs.items():
            self._forget(run_id)
            if run.state and not run.state.finished_by:
                self._known[run_id] = JournaledRun(run.state, run.seq + len(run.unwritten))
                self._in_flight += run.state.in_flight
        while len(self._known) > MAX_KNOWN:
            self._forget(next(iter(self._known)))

    def _forget(self, run_id: UUID) -> None:
        known = self._known.pop(run_id, None)
        if known and known.state:
            self._in_flight -= known.state.in_flight


async def _claim(connection: Connection, starts: Sequence[RunStart]) -> dict[UUID, Owner]:
    """Let starts own their `triggerRunId`; return who owns it, for those that came too late."""
    named = names, run_ids, digests = _named(starts)
    if not names:
        return {}
    await connection.execute(_CLAIM, *named)
    owners = {row["trigger_run_id"]: row for row in await connection.fetch(_OWNERS, names)}
    return {
        run_id: Owner(owners[name]["run_id"], owners[name]["digest"] == digest)
        for name, run_id, digest in zip(names, run_ids, digests, strict=True)
        if owners[name]["run_id"] != run_id
    }


async def _create(connection: Connection, starts: Sequence[RunStart]) -> None:
    if starts:
        await connection.execute(_CREATE, *_limited(starts))


def _named(starts: Iterable[RunStart]) -> tuple[list[str], list[UUID], list[str]]:
    """Return the starts with a `triggerRunId`, in its order: its key, the run, the digest."""
    named = sorted((key, start.run_id, start.digest) for start in starts if (key := start.trigger_key) is not None)
    return [key for key, _, _ in named], [run_id for _, run_id, _ in named], [digest for _, _, digest in named]


def _limited(starts: Iterable[RunStart]) -> tuple[list[UUID], list[str | None], list[int | None]]:
    """Return the runs that start, in the order of their ids: with which key, and how many with it may go on at once."""
    limits = {start.run_id: (start.concurrency_key, start.options.concurrency) for start in starts}
    run_ids = sorted(limits)
    keys = [limits[run_id][0] for run_id in run_ids]
    return run_ids, keys, [limit and limit.limit for limit in (limits[run_id][1] for run_id in run_ids)]


def _finished(runs: Mapping[UUID, JournaledRun]) -> list[UUID]:
    return [run_id for run_id, run in runs.items() if run.unwritten and run.state and run.state.finished_by]


def _appended(runs: Mapping[UUID, JournaledRun]) -> tuple[list[UUID], list[int], list[str]]:
    """Return what is to be appended to the journals: runs, numbers, events as JSON."""
    rows = [
        (run_id, run.seq + offset, event)
        for run_id, run in runs.items()
        for offset, event in enumerate(run.unwritten, start=1)
    ]
    events = [event.to_json().decode() for _, _, event in rows]
    return [run_id for run_id, _, _ in rows], [seq for _, seq, _ in rows], events
