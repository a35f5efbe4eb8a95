"""Connections to the real broker and database, each test with what it needs and nothing left behind."""

import asyncpg
import pytest

from shared.database import connect_database
from shared.messaging.connection import connect
from shared.messaging.publisher import open_publisher
from shared.topology import QUEUES


@pytest.fixture
async def channel(stack):
    """A channel on a connection of the test's own."""
    async with connect(stack.amqp_url, name="test", patience=5) as connection:
        yield await connection.channel()


@pytest.fixture
async def publisher(stack):
    async with open_publisher(stack.amqp_url, app_id="test", patience=5) as publisher:
        yield publisher


@pytest.fixture
async def empty_queues(channel):
    """All queues, without what earlier tests left in them."""
    for queue in QUEUES:
        declared = await channel.declare_queue(queue.name, passive=True)
        await declared.purge()


@pytest.fixture
async def empty_tables(stack):
    connection = await asyncpg.connect(stack.database_url)
    await connection.execute(
        "TRUNCATE orchestrator.journal, orchestrator.run, run_tracker.workflow_run, run_tracker.node_execution,"
        " gateway.workflow"
    )
    await connection.close()


@pytest.fixture
async def database(stack, empty_tables):
    async with connect_database(stack.database_url, name="test", patience=5, schema="orchestrator") as database:
        yield database
