"""What `weft doctor` finds on a real broker and a real database, as they should be and otherwise."""

import pytest

from cli.doctor.broker import check_broker
from cli.doctor.database import check_database
from cli.doctor.findings import Level
from shared import topology
from shared.database import connect_database
from shared.messaging.connection import connect


@pytest.fixture
async def channel(stack):
    """A channel of the broker, whose topology is set right afterwards."""
    async with connect(stack.amqp_url, name="test", patience=5) as connection:
        yield await connection.channel()
        channel = await connection.channel()
        await channel.queue_delete(topology.WHY_QUEUE)
        await topology.declare(channel)


def told(findings, level):
    return [finding.message for finding in findings if finding.level is level]


async def test_a_broker_that_is_set_up_is_well(stack):
    made = await check_broker(stack)
    assert told(made, Level.FAILURE) == []
    assert any("the topology is there" in message for message in told(made, Level.OK))
    assert any(message.startswith("RabbitMQ ") for message in told(made, Level.OK))


async def test_queues_that_are_missing_or_others_are_told_and_nothing_is_changed(stack, channel):
    await channel.queue_delete("dead.jobs.llm")
    await channel.queue_delete(topology.WHY_QUEUE)
    await channel.declare_queue(topology.WHY_QUEUE, durable=True)
    for _ in range(2):
        made = [finding for finding in await check_broker(stack) if finding.level is Level.FAILURE]
        fixes = {finding.message.partition(":")[0]: finding.fix for finding in made}
        assert fixes["queue dead.jobs.llm is missing"] == "weft setup"
        assert "delete this queue" in (fixes[f"queue {topology.WHY_QUEUE} is another"] or "")


async def test_a_broker_that_refuses_is_told_with_its_fix(stack):
    wrong = stack.model_copy(update={"amqp_url": "amqp://nobody:wrong@" + stack.amqp_url.partition("@")[2]})
    (finding,) = await check_broker(wrong)
    assert (finding.level, "WEFT_AMQP_URL" in (finding.fix or "")) == (Level.FAILURE, True)


async def test_a_database_that_is_set_up_is_well(stack):
    made = await check_database(stack)
    assert told(made, Level.FAILURE) == []
    assert any(
        "newest version: gateway, llm_worker, orchestrator, run_tracker" in text for text in told(made, Level.OK)
    )
    assert "the clock of the database agrees with this machine's" in told(made, Level.OK)


async def test_a_schema_that_is_older_and_one_that_is_missing_are_told(stack):
    async with connect_database(stack.database_url, name="test", patience=5, schema="pg_catalog") as database:
        async with database.session() as connection:
            newest = await connection.fetchval("SELECT version_num FROM gateway.schema_version")
            await connection.execute("UPDATE gateway.schema_version SET version_num = 'gateway_0001'")
            await connection.execute("ALTER SCHEMA run_tracker RENAME TO away")
        try:
            made = await check_database(stack)
        finally:
            async with database.session() as connection:
                await connection.execute("UPDATE gateway.schema_version SET version_num = $1", newest)
                await connection.execute("ALTER SCHEMA away RENAME TO run_tracker")
    first, second = told(made, Level.FAILURE)
    assert first == f"the schema gateway has gateway_0001, not {newest}"
    assert second.startswith("the schema run_tracker has no version, not run_tracker_00")


async def test_a_database_that_is_away_is_told_with_its_fix(stack):
    (finding,) = await check_database(stack.model_copy(update={"database_url": "postgresql://127.0.0.1:1/x"}))
    assert (finding.level, "WEFT_DATABASE_URL" in (finding.fix or "")) == (Level.FAILURE, True)
