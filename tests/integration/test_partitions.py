"""Partitions by week in a real PostgreSQL: made ahead, filled from the default one, dropped when they are old."""

import asyncio
import os
import sys
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest
from tests.unit.histories import EVENTS, FINISHED, RUN_ID, STARTED, VIEWS, succeeded

from run_tracker.handlers import EventHandler
from run_tracker.partitions import TABLES, WEEKS_AHEAD, Partitions, monday
from run_tracker.repository import RunRepository
from run_tracker.run_lists import RunLists
from shared.contracts.history import ListRuns

OLD = monday(datetime.now(UTC).date()) - timedelta(weeks=20)
_PARTITION = "SELECT DISTINCT tableoid::regclass::text AS name FROM run_tracker.{} WHERE run_id = $1"


@pytest.fixture
def partitions(database):
    return Partitions(database)


@pytest.fixture
def repository(database):
    return RunRepository(database)


@pytest.fixture
async def sql(database):
    async def execute(statement, *values):
        async with database.transaction() as connection:
            return await connection.fetch(statement, *values)

    return execute


async def record(repository, events):
    await EventHandler(repository).record(events)


async def recorded_in(sql, week, run_id):
    """Let the tracker have heard of a run in that week first."""
    await sql("INSERT INTO run_tracker.run_week (run_id, week) VALUES ($1, $2)", run_id, week)


async def places(sql, run_id=RUN_ID):
    """Return the partitions that a run is in."""
    return {row["name"] for table in TABLES for row in await sql(_PARTITION.format(table), run_id)}


async def drop(sql, week):
    for table in TABLES:
        await sql(f"DROP TABLE IF EXISTS run_tracker.{table}_{week:%Y%m%d}")


def names(week):
    return {f"run_tracker.{table}_{week:%Y%m%d}" for table in TABLES}


async def test_a_run_is_in_the_partitions_of_the_week_in_which_it_was_heard_of(repository, sql):
    await record(repository, EVENTS)
    assert await places(sql) == names(monday(datetime.now(UTC).date()))


async def test_what_comes_later_goes_to_where_the_run_is(repository, partitions, sql):
    await recorded_in(sql, OLD, RUN_ID)
    for event in reversed(EVENTS):
        await record(repository, [event])
    assert await places(sql) == {f"run_tracker.{table}_default" for table in TABLES}
    assert (await repository.get(RUN_ID)).nodes == VIEWS


async def test_replicas_that_hear_of_a_run_at_once_put_it_into_one_place(repository, sql):
    await asyncio.gather(*(record(repository, [event]) for event in EVENTS))
    assert len(await places(sql)) == len(TABLES)
    assert (await repository.get(RUN_ID)).nodes == VIEWS


async def test_partitions_are_made_ahead_once(partitions, sql):
    await partitions.make_ahead()
    last = monday(datetime.now(UTC).date()) + timedelta(weeks=WEEKS_AHEAD)
    await drop(sql, last)
    assert await asyncio.gather(partitions.make_ahead(), partitions.make_ahead()) == [[last], []]


async def test_a_partition_takes_over_what_the_default_one_holds_of_its_week(repository, partitions, sql):
    week = monday(datetime.now(UTC).date()) + timedelta(weeks=WEEKS_AHEAD)
    await partitions.make_ahead()
    await drop(sql, week)
    await recorded_in(sql, week, RUN_ID)
    await record(repository, EVENTS)
    assert await partitions.make_ahead() == [week]
    assert await places(sql) == names(week)
    assert (await repository.get(RUN_ID)).nodes == VIEWS
    await record(repository, EVENTS)
    assert (await repository.get(RUN_ID)).nodes == VIEWS


@pytest.fixture
async def old_run(repository, sql):
    """A run that was recorded twenty weeks ago."""
    await recorded_in(sql, OLD, RUN_ID)
    await record(repository, EVENTS)


async def test_old_weeks_are_dropped_and_younger_ones_stay(repository, partitions, database, sql, old_run):
    young = uuid4()
    await record(repository, [event.model_copy(update={"run_id": young}) for event in (STARTED, FINISHED)])
    reply = await partitions.prune(90)
    assert [(week.week, week.runs) for week in reply.dropped] == [(OLD, 1)]
    assert await repository.get(RUN_ID) is None
    assert await places(sql) == set()
    assert [run.run_id for run in (await RunLists(database).page(ListRuns())).runs] == [young]
    assert (await partitions.prune(90)).dropped == ()


async def test_a_week_is_old_when_all_of_it_is(partitions, old_run):
    age = (datetime.now(UTC).date() - OLD - timedelta(days=7)).days
    assert (await partitions.prune(age + 1)).dropped == ()
    assert len((await partitions.prune(age)).dropped) == 1


async def test_a_week_with_a_run_that_goes_on_is_kept(repository, partitions, sql):
    await recorded_in(sql, OLD, RUN_ID)
    await record(repository, [event for event in EVENTS if event != FINISHED])
    reply = await partitions.prune(90)
    assert (reply.dropped, [(week.week, week.open_runs) for week in reply.kept]) == ((), [(OLD, 1)])
    await record(repository, [FINISHED])
    assert (await partitions.prune(90)).dropped[0].week == OLD


async def test_old_weeks_are_dropped_by_a_process_of_its_own(stack, repository, old_run):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "run_tracker.prune", "90"),
        env={**os.environ, "WEFT_DATABASE_URL": stack.database_url},
        stderr=asyncio.subprocess.PIPE,
    )
    _, log = await process.communicate()
    assert process.returncode == 0, log
    assert b"dropped a week" in log
    assert await repository.get(RUN_ID) is None


async def test_what_is_told_of_a_run_that_was_dropped_harms_nothing(repository, partitions, database, old_run):
    await partitions.prune(90)
    await record(repository, [succeeded("open", 62, "too late")])
    assert (await RunLists(database).page(ListRuns())).runs == ()


def test_weeks_begin_on_mondays():
    assert monday(date(2026, 1, 4)) == date(2025, 12, 29)
    assert monday(date(2026, 1, 5)) == date(2026, 1, 5)
