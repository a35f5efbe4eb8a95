"""The tables' partitions: one for each week in which the tracker first heard of runs; made ahead, dropped when old.

What falls into no week's partition is kept in the default one, until the week's own is made.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

from structlog import get_logger

from shared.contracts.errors import UnavailableError
from shared.contracts.history import PrunedWeek, PruneReply
from shared.database import Connection, Database

TABLES = ("workflow_run", "node_execution", "node_attempt", "late_result")
WEEKS_AHEAD = 4
LOOK_SECONDS = 6 * 3600.0
RETRY_SECONDS = 30.0
_WEEK = timedelta(days=7)
_LOCK = 0x5745_4650  # any number that no other user of the database takes for its own
_GET_MISSING = """
SELECT week FROM unnest($1::date[]) AS wanted (week)
WHERE to_regclass('run_tracker.workflow_run_' || to_char(week, 'YYYYMMDD')) IS NULL ORDER BY week
"""
_GET_OLD = """
SELECT week, count(*) AS runs FROM run_tracker.run_week WHERE week <= $1 GROUP BY week ORDER BY week
"""
_COUNT_OPEN = "SELECT count(*) FROM run_tracker.workflow_run WHERE week = $1 AND finished_at IS NULL"

log = get_logger(__name__)


class Partitions:
    """Makes and drops partitions; what it does is done in transactions, and harmless when it is done twice."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def make_ahead(self) -> Sequence[date]:
        """Make the partitions of this week and of those that follow; return the weeks that had none."""
        wanted = [monday(datetime.now(UTC).date()) + number * _WEEK for number in range(WEEKS_AHEAD + 1)]
        async with self._database.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            missing = [row["week"] for row in await connection.fetch(_GET_MISSING, wanted)]
            for week in missing:
                await _make(connection, week)
        return missing

    async def keep_ahead(self) -> None:
        """Make partitions in time, until cancelled. While it cannot, the default partition takes what comes."""
        while True:
            try:
                if made := await self.make_ahead():
                    log.info("made partitions", weeks=[str(week) for week in made])
            except UnavailableError as err:
                log.warning("no partitions can be made yet", reason=str(err))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                await asyncio.sleep(LOOK_SECONDS)

    async def prune(self, older_than_days: int) -> PruneReply:
        """Drop the weeks that ended so long ago, each in a transaction of its own; one that holds open runs is kept."""
        last = datetime.now(UTC).date() - timedelta(days=older_than_days) - _WEEK
        async with self._database.transaction() as connection:
            old = [(row["week"], row["runs"]) for row in await connection.fetch(_GET_OLD, last)]
        pruned = [await self._prune_week(week, runs) for week, runs in old]
        return PruneReply(
            dropped=tuple(week for week in pruned if not week.open_runs),
            kept=tuple(week for week in pruned if week.open_runs),
        )

    async def _prune_week(self, week: date, runs: int) -> PrunedWeek:
        async with self._database.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            # Nothing is merged meanwhile: what has not ended is counted, and its partition is dropped, at one moment.
            await connection.execute(f"LOCK TABLE {_all(TABLES)} IN ACCESS EXCLUSIVE MODE")
            open_runs = await connection.fetchval(_COUNT_OPEN, week)
            if not open_runs:
                await connection.execute(f"DROP TABLE IF EXISTS {_all(_name(table, week) for table in TABLES)}")
                await _empty_default(connection, week)
        log.info("kept a week that is old" if open_runs else "dropped a week", week=str(week), runs=runs)
        return PrunedWeek(week=week, runs=runs, open_runs=open_runs)


def monday(day: date) -> date:
    """Return the first day of a day's week."""
    return day - timedelta(days=day.weekday())


async def _make(connection: Connection, week: date) -> None:
    """Make a week's partitions, and bring what the default ones hold of it to where it belongs."""
    for table in TABLES:
        name = _name(table, week)
        await connection.execute(f"CREATE TABLE run_tracker.{name} (LIKE run_tracker.{table} INCLUDING DEFAULTS)")
        await connection.execute(
            f"WITH moved AS (DELETE FROM run_tracker.{table}_default WHERE week >= $1 AND week < $2 RETURNING *)"  # noqa: S608 -- names are made here
            f" INSERT INTO run_tracker.{name} SELECT * FROM moved",
            week,
            week + _WEEK,
        )
        bounds = f"FROM ('{week}') TO ('{week + _WEEK}')"
        await connection.execute(
            f"ALTER TABLE run_tracker.{table} ATTACH PARTITION run_tracker.{name} FOR VALUES {bounds}"
        )


async def _empty_default(connection: Connection, week: date) -> None:
    """Forget what else is known of a week: where its runs are, and what no partition of its own took."""
    for table in ("run_week", *(f"{table}_default" for table in TABLES)):
        await connection.execute(f"DELETE FROM run_tracker.{table} WHERE week = $1", week)  # noqa: S608


def _name(table: str, week: date) -> str:
    return f"{table}_{week:%Y%m%d}"


def _all(tables: Iterable[str]) -> str:
    return ", ".join(f"run_tracker.{table}" for table in tables)
