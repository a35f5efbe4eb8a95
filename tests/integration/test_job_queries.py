"""What is asked about jobs, whichever runs they are of, from a real PostgreSQL."""

from uuid import UUID

import asyncpg
import pytest
from tests.integration.test_run_lists import finished, started
from tests.unit.histories import at

from run_tracker.handlers import EventHandler
from run_tracker.jobs import FIND_WAITING, Jobs
from run_tracker.repository import RunRepository
from shared.contracts.errors import Problem
from shared.contracts.events import NodeFailed, NodeQueued, NodeStarted
from shared.contracts.operations import AttemptKey, WaitingJob
from shared.contracts.states import NodeStatus, RunStatus

CRASHED = Problem(code="worker_crashed", message="given up")
MANY_RUNS = """
INSERT INTO run_tracker.workflow_run (run_id, week, status, rank, created_at)
SELECT gen_random_uuid(), date_trunc('week', now() AT TIME ZONE 'UTC')::date,
    CASE WHEN number % 5 = 0 THEN 'failed' ELSE 'completed' END, 1, now() - number * interval '1 second'
FROM generate_series(1, 50000) AS series (number)
"""


@pytest.fixture
def jobs(database):
    return Jobs(database)


@pytest.fixture
def record(database):
    return EventHandler(RunRepository(database)).record


def about(number, attempt=1):
    return {"run_id": UUID(int=number), "node_id": "n", "node_type": "llm", "attempt": attempt}


def queued(number, seconds, attempt=1):
    return NodeQueued.model_validate({**about(number, attempt), "at": at(seconds)}, by_name=True)


async def test_the_job_that_has_waited_longest_is_told_by_type(jobs, record):
    taken = NodeStarted.model_validate({**about(1), "at": at(9), "worker": "w"}, by_name=True)
    runs = [started(number, 0) for number in (1, 2, 3, 4)]
    await record([*runs, queued(1, 1), queued(2, 3), queued(3, 2), queued(4, 1), taken, finished(4, 5)])
    assert (await jobs.waiting()).jobs == (WaitingJob(node_type="llm", queued_at=at(2)),)


async def test_where_nothing_waits_nothing_is_told(jobs, record):
    await record([started(1, 0)])
    assert (await jobs.waiting()).jobs == ()


async def test_the_oldest_is_looked_for_among_open_runs_alone(stack, jobs, record):
    await record([started(1, 0), queued(1, 1)])
    connection = await asyncpg.connect(stack.database_url)
    await connection.execute(MANY_RUNS)
    await connection.execute("ANALYZE run_tracker.workflow_run")
    plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {FIND_WAITING}"))
    partition = await connection.fetchval("SELECT tableoid::regclass::text FROM run_tracker.workflow_run LIMIT 1")
    await connection.close()
    name = partition.removeprefix("run_tracker.")
    assert f"Seq Scan on {name} " not in plan
    assert f"Index Scan using {name}" in plan
    assert (await jobs.waiting()).jobs == (WaitingJob(node_type="llm", queued_at=at(1)),)


async def test_how_things_stand_with_attempts_is_told(jobs, record):
    failed = NodeFailed.model_validate({**about(1), "at": at(3), "error": CRASHED}, by_name=True)
    taken = NodeStarted.model_validate({**about(1), "at": at(2), "worker": "host:1"}, by_name=True)
    await record([started(1, 0, owner="ann"), queued(1, 1), taken, failed, queued(1, 4, attempt=2)])
    keys = [AttemptKey(run_id=UUID(int=run), node_id="n", attempt=attempt) for run, attempt in ((1, 1), (1, 2), (2, 1))]
    first, second = sorted((await jobs.attempts(keys)).attempts, key=lambda stand: stand.attempt)
    assert (first.error, first.worker, first.owner, first.run_status) == (CRASHED, "host:1", "ann", RunStatus.RUNNING)
    assert (first.status, first.latest, second.error, second.attempt) == (NodeStatus.QUEUED, 2, None, 2)
