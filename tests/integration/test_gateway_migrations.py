"""Migrations of the gateway: what was kept before there were owners is the local owner's, and the way back keeps it."""

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

import shared.migrations
from shared.contracts.owners import LOCAL_OWNER

WORKFLOW, RUN = uuid4(), uuid4()
BEFORE_OWNERS = "gateway_0002"


@pytest.fixture
async def old_database(stack) -> AsyncGenerator[str]:
    """The URL of a database of the test's own, as it was before there were owners."""
    name = f"old_{uuid4().hex}"
    admin = await asyncpg.connect(stack.database_url)
    await admin.execute(f'CREATE DATABASE "{name}"')
    url = make_url(stack.database_url).set(database=name).render_as_string(hide_password=False)
    await ask(url, "CREATE SCHEMA gateway")
    await move(url, "upgrade", BEFORE_OWNERS)
    await ask(url, "INSERT INTO gateway.workflow VALUES ($1, 1, 'old', '{}')", WORKFLOW)
    await ask(url, "INSERT INTO gateway.started_run VALUES ($1, 'mine', 'digest', 'command')", RUN)
    yield url
    await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await admin.close()


async def ask(url, statement, *values):
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(statement, *values)
    await connection.close()
    return [tuple(row) for row in rows]


async def move(url, direction, revision):
    """Bring the gateway's schema to a revision, as `shared.migrations` brings it to the newest."""
    versions = Path(import_module("gateway.migrations").__file__ or "").parent / "versions"
    config = Config()
    config.set_main_option("script_location", str(Path(shared.migrations.__file__).parent))
    config.set_main_option("version_locations", str(versions))
    config.set_main_option("path_separator", "os")

    def run(connection: Connection) -> None:
        config.attributes.update(connection=connection, schema="gateway")
        getattr(command, direction)(config, revision)

    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(run)
    await engine.dispose()


async def kept(url):
    workflows = await ask(url, "SELECT workflow_id, version, name FROM gateway.workflow")
    starts = await ask(url, "SELECT run_id, trigger_run_id, request_digest, command FROM gateway.started_run")
    return workflows, starts


async def test_what_was_kept_before_is_the_local_owners(old_database):
    before = await kept(old_database)
    await move(old_database, "upgrade", "head")
    assert await kept(old_database) == before
    for table in ("workflow", "started_run"):
        assert await ask(old_database, f"SELECT owner FROM gateway.{table}") == [(LOCAL_OWNER,)]


async def test_the_way_back_keeps_it_though_others_have_the_same_names_by_then(old_database):
    before = await kept(old_database)
    await move(old_database, "upgrade", "head")
    workflow = (
        "INSERT INTO gateway.workflow (workflow_id, owner, version, name, graph) VALUES ($1, 'zoe', 1, 'new', '{}')"
    )
    await ask(old_database, workflow, WORKFLOW)
    start = "INSERT INTO gateway.started_run (run_id, owner, trigger_run_id, request_digest, command)"
    await ask(old_database, f"{start} VALUES ($1, 'zoe', 'mine', 'digest', 'command')", uuid4())
    await move(old_database, "downgrade", BEFORE_OWNERS)
    assert await kept(old_database) == before
    await move(old_database, "upgrade", "head")
    assert await kept(old_database) == before
