"""Connections to the real broker and database, each test with what it needs and nothing left behind."""

import asyncpg
import pytest
from tests.integration.gateway_fixtures import gateway_process

from crop_worker.main import create_service as crop_worker
from orchestrator.main import create_service as orchestrator
from run_tracker.main import create_service as run_tracker
from shared import topology
from shared.database import connect_database
from shared.messaging.connection import connect
from shared.messaging.publisher import open_publisher
from shared.topology import QUEUES, worker_address


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
async def worker_publisher(stack):
    """What publishes as a worker does: results, which reach the orchestrator."""
    async with open_publisher(stack.amqp_url, app_id="test", patience=5, address=worker_address) as publisher:
        yield publisher


@pytest.fixture
async def empty_queues(channel):
    """All queues, without what earlier tests left in them."""
    for queue in QUEUES:
        declared = await channel.declare_queue(queue.name, passive=True)
        await declared.purge()


@pytest.fixture
async def admin(stack):
    """A channel for deleting queues; whatever a test does, all are there at its end."""
    async with connect(stack.amqp_url, name="admin", patience=5) as connection:
        channel = await connection.channel()
        yield channel
        await topology.declare(channel)


@pytest.fixture
async def empty_tables(stack):
    connection = await asyncpg.connect(stack.database_url)
    await connection.execute(
        "TRUNCATE orchestrator.journal, orchestrator.run, orchestrator.trigger, orchestrator.cache,"
        " run_tracker.run_week, run_tracker.workflow_run,"
        " run_tracker.node_execution, run_tracker.node_attempt, run_tracker.late_result,"
        " gateway.workflow, gateway.started_run, gateway.accepted_run, gateway.refused_run, gateway.key_run,"
        " llm_worker.call, llm_worker.permit, llm_worker.provider"
    )
    await connection.close()


@pytest.fixture
async def database(stack, empty_tables):
    async with connect_database(stack.database_url, name="test", patience=5, schema="orchestrator") as database:
        yield database


@pytest.fixture
async def gateway(stack, empty_queues, empty_tables):
    async with gateway_process(stack) as gateway:
        yield gateway


@pytest.fixture
async def client(gateway):
    return gateway.client


@pytest.fixture
async def tracker_service(stack, empty_queues, empty_tables):
    async with run_tracker(stack):
        yield


@pytest.fixture
async def services(stack, tracker_service):
    async with orchestrator(stack), crop_worker(stack):
        yield
