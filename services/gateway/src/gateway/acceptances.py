"""What is known of runs before the run tracker knows them: the only code that touches `accepted_run`, `refused_run`.

Kept in the database, so that every gateway tells the same, whichever of them accepted a run or heard of its refusal.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg
from pydantic import ValidationError
from structlog import get_logger

from gateway.patience import Patience
from shared.contracts.errors import Problem, UnavailableError
from shared.contracts.events import RunRejected, read_event
from shared.contracts.queries import RunView
from shared.contracts.states import RunStatus
from shared.database import Database
from shared.messaging.live import StreamedEvent

KEPT = timedelta(days=1)
PRUNE_EVERY = 3600.0  # seconds
PRUNED_AT_ONCE = 5_000  # rows; those of a busy hour are more than one statement may take time for
RETRY_SECONDS = 1.0

_ACCEPT = """
INSERT INTO gateway.accepted_run (run_id, view)
SELECT run_id, view::jsonb FROM unnest($1::uuid[], $2::text[]) AS accepted (run_id, view) ORDER BY run_id
ON CONFLICT DO NOTHING
"""
_REFUSE = """
INSERT INTO gateway.refused_run (run_id, problem, refused_at) VALUES ($1, $2::text::jsonb, $3) ON CONFLICT DO NOTHING
"""
_FIND = """
SELECT view, problem, refused_at
FROM gateway.accepted_run LEFT JOIN gateway.refused_run USING (run_id) WHERE run_id = $1
"""
_PRUNE = """
WITH old AS (SELECT run_id FROM gateway.{table} WHERE created_at < now() - $1::interval LIMIT $2),
gone AS (DELETE FROM gateway.{table} USING old WHERE {table}.run_id = old.run_id RETURNING 1)
SELECT count(*) FROM gone
"""
_PRUNE_ALL = (_PRUNE.format(table="accepted_run"), _PRUNE.format(table="refused_run"))

log = get_logger(__name__)


class Acceptances:
    """Remembers runs that were accepted, and which of them were refused after all, for `KEPT`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._patience = Patience()
        self._refusals: asyncio.Queue[RunRejected] = asyncio.Queue()

    async def note(self, runs: Sequence[RunView]) -> None:
        """Remember accepted runs. Without the database they are unknown until the run tracker knows them."""
        rows = [(run.run_id, run.to_json().decode()) for run in runs]
        try:
            await self._patience.in_time(self._execute(_ACCEPT, *map(list, zip(*rows, strict=True))))
        except UnavailableError as err:
            log.warning("accepted runs not remembered", count=len(rows), reason=str(err))

    async def find(self, run_id: UUID) -> RunView | None:
        """Return a run as it was accepted, or refused; raise `database_unavailable`."""
        row = await self._patience.in_time(self._fetch(run_id))
        return _view(row) if row else None

    def hear(self, told: StreamedEvent) -> None:
        """Take note of an event that says that a run will never be."""
        if told.kind != RunRejected.kind_name():
            return
        try:
            event = read_event(told.body)
        except ValidationError:
            return  # the log of events tells of it
        if isinstance(event, RunRejected) and event.existing_run_id != event.run_id:
            self._refusals.put_nowait(event)

    async def keep_refusals(self) -> None:
        """Write down what is heard, and try again where that fails, until cancelled."""
        while True:
            event = await self._refusals.get()
            try:
                await self._execute(_REFUSE, event.run_id, event.problem.to_json().decode(), event.at)
            except UnavailableError as err:
                log.warning("a refusal is not written down, will be tried again", reason=str(err))
                self._refusals.put_nowait(event)
                await asyncio.sleep(RETRY_SECONDS)

    async def prune(self) -> int:
        """Remove what is older than `KEPT`; return how many rows that were."""
        pruned = 0
        for statement in _PRUNE_ALL:
            batch = PRUNED_AT_ONCE
            while batch == PRUNED_AT_ONCE:
                batch = await self._prune_batch(statement)
                pruned += batch
        return pruned

    async def keep_pruned(self) -> None:
        """Forget what is older than `KEPT` now and then, until cancelled."""
        while True:
            try:
                await self.prune()
            except UnavailableError as err:
                log.warning("acceptances not pruned, will be tried again", reason=str(err))
            await asyncio.sleep(PRUNE_EVERY)

    async def _execute(self, statement: str, *arguments: object) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(statement, *arguments)

    async def _prune_batch(self, statement: str) -> int:
        async with self._database.transaction() as connection:
            return await connection.fetchval(statement, KEPT, PRUNED_AT_ONCE)

    async def _fetch(self, run_id: UUID) -> asyncpg.Record | None:
        async with self._database.transaction() as connection:
            return await connection.fetchrow(_FIND, run_id)


def _view(row: asyncpg.Record) -> RunView:
    view = RunView.model_validate_json(row["view"])
    if row["problem"] is None:
        return view
    problem = Problem.model_validate_json(row["problem"])
    return view.model_copy(
        update={
            "status": RunStatus.FAILED,
            "finished_at": row["refused_at"],
            "problems": (problem,),
            "total_nodes": 0,
        }
    )
