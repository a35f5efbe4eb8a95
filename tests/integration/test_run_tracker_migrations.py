"""Migrations of the run tracker: what was recorded before is there afterwards."""

import asyncio
from collections.abc import AsyncGenerator
from importlib import import_module
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from tests.unit.histories import LIMITED, REFUSED, RUN_ID, WORKFLOW_ID, at, succeeded, success, view

import shared.migrations
from run_tracker.handlers import EventHandler
from run_tracker.repository import RunRepository
from shared.contracts.events import Usage
from shared.contracts.queries import AttemptView
from shared.contracts.states import NodeStatus
from shared.contracts.values import TextValue
from shared.database import connect_database
from shared.migrations import migrate

QUEUED = {"queued_at": at(0)}
USED = {"seconds": 1.5, "usage": Usage(model="m", cost=0.01)}
DONE = {"started_at": at(1), "worker": "host:1", **USED}


def once(status, **told):
    """The one attempt that is known of a node; it waited a second, if it is known to have begun."""
    waited = {"queue_seconds": 1.0} if "started_at" in told else {}
    known = {"attempt": 1, "status": status, **QUEUED, **waited, **told}
    return {"attempts": (AttemptView.model_validate(known, by_name=True),)}


FAILED = NodeStatus.FAILED
VIEWS = (
    success(
        *("done", "answer"),
        finished=2.5,
        **QUEUED,
        **DONE,
        **once(NodeStatus.SUCCESS, finished_at=at(2.5), **DONE),
    ),
    view(
        *("bad", FAILED),
        error=REFUSED,
        finished_at=at(3),
        seconds=2.0,
        **QUEUED,
        **once(FAILED, error=REFUSED, finished_at=at(3), seconds=2.0),
    ),
    view(
        *("again", NodeStatus.RETRYING),
        error=LIMITED,
        retry_at=at(9),
        **QUEUED,
        **once(FAILED, error=LIMITED, finished_at=at(9)),
    ),
    view(
        *("failing", NodeStatus.RETRYING),
        error=LIMITED,
        **QUEUED,
        **once(FAILED, error=LIMITED, finished_at=at(0)),
    ),
    view(
        *("after", NodeStatus.SKIPPED),
        finished_at=at(3),
        **QUEUED,
        **once(NodeStatus.SKIPPED, finished_at=at(3)),
    ),
    view(
        *("open", NodeStatus.RUNNING),
        started_at=at(1),
        worker="host:2",
        **QUEUED,
        **once(NodeStatus.RUNNING, started_at=at(1), worker="host:2"),
    ),
)
_RUN = """
INSERT INTO run_tracker.workflow_run (run_id, status, rank, workflow_id, created_at, total_nodes)
VALUES ($1, 'running', 1, $2, '2026-01-01 00:00+00', 6)
"""
_NODES = """
INSERT INTO run_tracker.node_execution
    (run_id, node_id, status, rank, node_type, position, attempt, queued_at, started_at, worker, finished_at, seconds,
     retry_at, output, error, usage)
SELECT $1, node_id, status, rank, 'llm', position, 1, '2026-01-01 00:00+00', started_at, worker, finished_at, seconds,
    retry_at, output, error, usage
FROM jsonb_populate_recordset(NULL::run_tracker.node_execution, $2::text::jsonb)
"""
_OLD = """[
    {"node_id": "done", "position": 1, "status": "success", "rank": 1000000000, "started_at": "2026-01-01T00:00:01Z",
     "worker": "host:1", "finished_at": "2026-01-01T00:00:02.5Z", "seconds": 1.5,
     "output": {"type": "text", "text": "answer"}, "usage": {"model": "m", "cost": 0.01, "input_tokens": null}},
    {"node_id": "bad", "position": 2, "status": "failed", "rank": 1000000001, "finished_at": "2026-01-01T00:00:03Z",
     "error": {"code": "llm_refused", "message": "no", "where": null}, "seconds": 2},
    {"node_id": "again", "position": 3, "status": "retrying", "rank": 13, "retry_at": "2026-01-01T00:00:09Z",
     "error": {"code": "llm_rate_limited", "message": "slow down"}},
    {"node_id": "failing", "position": 4, "status": "retrying", "rank": 13,
     "error": {"code": "llm_rate_limited", "message": "slow down"}},
    {"node_id": "after", "position": 5, "status": "skipped", "rank": 1000000000, "finished_at": "2026-01-01T00:00:03Z"},
    {"node_id": "open", "position": 6, "status": "running", "rank": 12, "started_at": "2026-01-01T00:00:01Z",
     "worker": "host:2"}
]"""


@pytest.fixture
async def old_database(stack) -> AsyncGenerator[str]:
    """The URL of a database of the test's own, as the first version left it."""
    name = f"old_{uuid4().hex}"
    admin = await asyncpg.connect(stack.database_url)
    await admin.execute(f'CREATE DATABASE "{name}"')
    url = make_url(stack.database_url).set(database=name).render_as_string(hide_password=False)
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE SCHEMA run_tracker")
    await _move(url, "upgrade", "run_tracker_0001")
    await connection.execute(_RUN, RUN_ID, WORKFLOW_ID)
    await connection.execute(_NODES, RUN_ID, _OLD)
    await connection.close()
    yield url
    await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await admin.close()


async def _move(url, direction, revision):
    """Bring the tracker's schema to a revision, as `shared.migrations` brings it to the newest."""
    versions = import_module("run_tracker.migrations").__file__
    config = Config()
    config.set_main_option("script_location", str(Path(shared.migrations.__file__).parent))
    config.set_main_option("version_locations", str(Path(versions or "").parent / "versions"))
    config.set_main_option("path_separator", "os")

    def move(connection: Connection) -> None:
        config.attributes.update(connection=connection, schema="run_tracker")
        getattr(command, direction)(config, revision)

    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(move)
    await engine.dispose()


async def old_rows(url):
    connection = await asyncpg.connect(url)
    columns = (
        "node_id, status, started_at, worker, finished_at, seconds, retry_at, output, error->>'code' AS code, usage"
    )
    rows = await connection.fetch(f"SELECT {columns} FROM run_tracker.node_execution ORDER BY position")
    await connection.close()
    return [dict(row) for row in rows]


async def test_what_was_recorded_is_shown_as_before_and_goes_on(old_database):
    await asyncio.to_thread(migrate, old_database, patience=5)
    async with connect_database(old_database, name="test", patience=5, schema="run_tracker") as database:
        repository = RunRepository(database)
        run = await repository.get(RUN_ID)
        assert run
        assert run.nodes == VIEWS
        assert (await repository.outputs(WORKFLOW_ID, ["done", "bad"])).outputs == {"done": TextValue(text="answer")}
        await EventHandler(repository).record([succeeded("open", 5, "now")])
        assert (await repository.outputs(WORKFLOW_ID, ["open"])).outputs == {"open": TextValue(text="now")}


async def test_the_way_back_gives_the_old_rows(old_database):
    before = await old_rows(old_database)
    await _move(old_database, "upgrade", "head")
    await _move(old_database, "downgrade", "run_tracker_0001")
    without_nulls = [row | {"usage": row["usage"] and '{"cost": 0.01, "model": "m"}'} for row in before]
    assert await old_rows(old_database) == without_nulls


async def test_what_was_recorded_is_in_the_partition_of_its_week(old_database):
    await asyncio.to_thread(migrate, old_database, patience=5)
    connection = await asyncpg.connect(old_database)
    rows = await connection.fetch("SELECT DISTINCT tableoid::regclass::text AS name FROM run_tracker.node_execution")
    assert [row["name"] for row in rows] == ["run_tracker.node_execution_20251229"]
    await connection.close()
