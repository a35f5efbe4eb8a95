"""Publishing and consuming on a real broker: nothing unconfirmed passes for published, nothing is lost or doubled."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from aio_pika import Message as AmqpMessage
from tests.integration.gateway_client import until

from shared import topology
from shared.contracts.bundles import bundled
from shared.contracts.commands import NodeAbandon, NodeExecute, RunStart, read_command
from shared.contracts.errors import InvalidInputError, Problem, UnavailableError, unavailable
from shared.contracts.events import NodeFailed, read_result
from shared.contracts.graph import WorkflowGraph
from shared.contracts.values import TextValue
from shared.messaging.batches import BatchConsumer, Linger
from shared.messaging.connection import connect
from shared.messaging.publisher import MAX_MESSAGE_BYTES, open_publisher
from shared.topology import (
    COMMANDS_QUEUE,
    DEAD_JOBS_QUEUE,
    HISTORY_QUEUE,
    RESULTS_QUEUE,
    check_queue,
)

pytestmark = pytest.mark.usefixtures("empty_queues")
GRAPH = WorkflowGraph(nodes=())
FOREVER = 3_600.0  # seconds, longer than any test waits


def run_start():
    return RunStart(run_id=uuid4(), graph=GRAPH)


def failed():
    return NodeFailed(
        run_id=uuid4(), node_id="n", node_type="llm", at=datetime.now(UTC), error=Problem(code="x", message="x")
    )


class Collector:
    """A handler that records batches, and reports when enough messages have come."""

    def __init__(self, expected, handle=None):
        self.batches = []
        self.expected = expected
        self.done = asyncio.Event()
        self.react = handle

    @property
    def messages(self):
        return [message for batch in self.batches for message in batch]

    async def handle(self, batch):
        if self.react:
            await self.react(batch)
        self.batches.append(batch)
        if len(self.messages) >= self.expected:
            self.done.set()


async def consume(channel, collector, readers=None):
    consumer = BatchConsumer(channel, readers or {COMMANDS_QUEUE: read_command}, collector.handle)
    await consumer.start()
    async with asyncio.timeout(15):
        await collector.done.wait()
    await consumer.stop()


async def depth(channel, queue):
    """Return how many messages a queue has ready; aio-pika's own channel would tell what it found the first time."""
    return (await (await channel.get_underlay_channel()).queue_declare(queue, passive=True)).message_count


async def next_message(channel, queue):
    """Wait for a message in a queue, take it and return it."""
    declared = await channel.get_queue(queue)
    async with declared.iterator(timeout=15) as messages:
        message = await anext(messages)
        await message.ack()
    return message


async def test_a_published_message_is_in_its_queue_with_all_properties(channel, publisher):
    command = run_start()
    await publisher.publish(command)
    message = await next_message(channel, COMMANDS_QUEUE)
    assert read_command(message.body) == command
    assert message.message_id == command.message_id
    assert message.correlation_id == str(command.run_id)
    assert (message.type, message.content_type, message.app_id) == ("run.start", "application/json", "test")
    assert message.delivery_mode == 2
    assert message.timestamp is not None


async def test_a_message_that_no_queue_would_get_is_an_error(publisher):
    job = NodeExecute(run_id=uuid4(), node_id="n", node_type="sharpen")
    with pytest.raises(UnavailableError) as raised:
        await publisher.publish(job)
    assert raised.value.code == "unroutable"
    assert "sharpen" in str(raised.value)


async def test_a_message_that_no_broker_takes_is_refused_and_others_go_on(channel, publisher):
    large = RunStart(run_id=uuid4(), graph=GRAPH, inputs={"text": TextValue(text="x" * MAX_MESSAGE_BYTES)})
    with pytest.raises(InvalidInputError) as raised:
        await publisher.publish(large)
    assert raised.value.code == "message_too_large"
    command = run_start()
    await publisher.publish(command)
    assert (await next_message(channel, COMMANDS_QUEUE)).message_id == command.message_id


async def test_equal_messages_of_a_batch_are_published_once(channel, publisher):
    command = run_start()
    await publisher.publish_all([command, run_start(), command])
    collector = Collector(2)
    await consume(channel, collector)
    assert len(collector.messages) == 2


async def test_publishing_the_same_message_at_the_same_time_is_safe(channel, publisher):
    command = run_start()
    await asyncio.gather(*(publisher.publish(command) for _ in range(5)))
    collector = Collector(5)
    await consume(channel, collector)
    assert {message.run_id for message in collector.messages} == {command.run_id}


async def test_results_of_workers_reach_the_orchestrator_alone(channel, worker_publisher):
    await worker_publisher.publish(failed())
    assert (await next_message(channel, RESULTS_QUEUE)).type == "node.failed"
    assert await depth(channel, HISTORY_QUEUE) == 0


async def test_what_the_orchestrator_tells_does_not_come_back_to_it(channel, publisher):
    (bundle,) = bundled([failed()])
    await publisher.publish(bundle)
    assert (await next_message(channel, HISTORY_QUEUE)).type == "events"
    assert await depth(channel, RESULTS_QUEUE) == 0


@pytest.mark.parametrize(
    ("lane", "queue"), [("high", "jobs.llm.high"), ("normal", "jobs.llm"), ("low", "jobs.llm.low")]
)
async def test_a_job_waits_in_the_queue_of_its_lane(channel, publisher, lane, queue):
    job = NodeExecute(run_id=uuid4(), node_id="n", node_type="llm", lane=lane)
    await publisher.publish(job)
    assert (await next_message(channel, queue)).message_id == job.message_id


async def test_an_abandonment_that_no_worker_hears_is_no_error(publisher):
    await publisher.publish(NodeAbandon(run_id=uuid4(), node_id="n", node_type="llm"))


async def test_what_has_arrived_together_is_handled_together_and_in_order(channel, publisher):
    commands = [run_start() for _ in range(300)]
    for command in commands:
        await publisher.publish(command)
    collector = Collector(300)
    await consume(channel, collector)
    assert [message.run_id for message in collector.messages] == [command.run_id for command in commands]
    assert max(map(len, collector.batches)) > 1
    assert await depth(channel, COMMANDS_QUEUE) == 0


async def test_one_handler_takes_from_several_queues(channel, publisher, worker_publisher):
    await publisher.publish_all([run_start(), run_start()])
    await worker_publisher.publish(failed())
    collector = Collector(3)
    await consume(channel, collector, {COMMANDS_QUEUE: read_command, RESULTS_QUEUE: read_result})
    assert sorted(type(message).__name__ for message in collector.messages) == ["NodeFailed", "RunStart", "RunStart"]


async def test_an_unreadable_message_is_dead_lettered_and_its_neighbours_are_handled(channel, publisher):
    exchange = await channel.get_exchange(topology.RUNS)
    await publisher.publish(run_start())
    await exchange.publish(AmqpMessage(b"{not json", message_id="poison"), "run.start")
    await publisher.publish(run_start())
    collector = Collector(2)
    await consume(channel, collector)
    assert (await next_message(channel, f"dead.{COMMANDS_QUEUE}")).message_id == "poison"
    assert await depth(channel, COMMANDS_QUEUE) == 0


async def test_a_message_that_cannot_be_handled_is_isolated_from_its_batch(channel, publisher):
    commands = [run_start() for _ in range(20)]
    poison = commands[7].run_id

    async def refuse_poison(batch):
        if any(message.run_id == poison for message in batch):
            raise ValueError("poison")

    await publisher.publish_all(commands)
    collector = Collector(19, refuse_poison)
    await consume(channel, collector)
    assert {message.run_id for message in collector.messages} == {c.run_id for c in commands} - {poison}
    assert (await next_message(channel, f"dead.{COMMANDS_QUEUE}")).correlation_id == str(poison)


async def test_while_something_is_unavailable_the_batch_is_kept_and_tried_again(channel, publisher):
    attempts = []

    async def fail_twice(batch):
        attempts.append(batch)
        if len(attempts) < 3:
            raise unavailable("database_unavailable", "away")

    await publisher.publish(run_start())
    collector = Collector(1, fail_twice)
    await consume(channel, collector)
    assert len(attempts) == 3
    assert await depth(channel, f"dead.{COMMANDS_QUEUE}") == 0


async def test_a_batch_in_hand_when_stopping_goes_back_to_its_queue(stack, channel, publisher):
    entered = asyncio.Event()

    async def never_available(_):
        entered.set()
        raise unavailable("database_unavailable", "away")

    command = run_start()
    await publisher.publish(command)
    async with connect(stack.amqp_url, name="test", patience=5) as connection:
        consumer = BatchConsumer(await connection.channel(), {COMMANDS_QUEUE: read_command}, never_available)
        await consumer.start()
        async with asyncio.timeout(10):
            await entered.wait()
        await consumer.stop()
    assert (await next_message(channel, COMMANDS_QUEUE)).message_id == command.message_id
    assert await depth(channel, f"dead.{COMMANDS_QUEUE}") == 0


async def test_nothing_is_acknowledged_before_the_handler_returns(stack, channel, publisher):
    """A connection lost while the handler works: the message comes again."""
    command = run_start()
    await publisher.publish(command)
    working = asyncio.Event()

    async def work_forever(_):
        working.set()
        await asyncio.Event().wait()

    async with connect(stack.amqp_url, name="test", patience=5) as connection:
        consumer = BatchConsumer(await connection.channel(), {COMMANDS_QUEUE: read_command}, work_forever)
        await consumer.start()
        async with asyncio.timeout(10):
            await working.wait()
    again = await next_message(channel, COMMANDS_QUEUE)
    assert again.message_id == command.message_id
    assert again.redelivered


async def test_a_connection_lost_under_a_batch_is_survived(stack, channel, publisher):
    """The effects are safe, the acknowledgement is not: the batch comes again, and consuming goes on."""
    working, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_):
        working.set()
        await go_on.wait()

    collector = Collector(21, wait)
    await publisher.publish(run_start())
    async with connect(stack.amqp_url, name="test", patience=5) as connection:
        consumer = BatchConsumer(await connection.channel(), {COMMANDS_QUEUE: read_command}, collector.handle)
        await consumer.start()
        async with asyncio.timeout(20):
            await working.wait()
            await connection.reconnect()
            go_on.set()
            await publisher.publish_all([run_start() for _ in range(19)])
            await collector.done.wait()
        assert await consumer.is_alive()
        await consumer.stop()
    first = collector.messages[0].run_id
    assert [message.run_id for message in collector.messages].count(first) == 2
    assert await depth(channel, COMMANDS_QUEUE) == 0


async def test_a_batch_waits_until_enough_has_come(channel, publisher):
    collector = Collector(3)
    linger = Linger(FOREVER, enough=lambda: 3)
    async with BatchConsumer(channel, {COMMANDS_QUEUE: read_command}, collector.handle, linger=linger):
        for _ in range(3):
            await publisher.publish(run_start())
        async with asyncio.timeout(10):
            await collector.done.wait()
    assert [len(batch) for batch in collector.batches] == [3]


async def test_a_batch_does_not_wait_longer_than_it_may(channel, publisher):
    collector = Collector(1)
    await publisher.publish(run_start())
    async with BatchConsumer(channel, {COMMANDS_QUEUE: read_command}, collector.handle, linger=Linger(0.01)):
        async with asyncio.timeout(10):
            await collector.done.wait()


async def test_what_a_batch_waits_with_goes_back_to_its_queue_when_stopping(stack, channel, publisher):
    collector = Collector(1)
    await publisher.publish(run_start())

    async def is_delivered():
        return await depth(channel, COMMANDS_QUEUE) == 0

    async def is_back():
        return not await is_delivered()

    async with (
        connect(stack.amqp_url, name="test", patience=5) as connection,
        BatchConsumer(
            await connection.channel(),
            {COMMANDS_QUEUE: read_command},
            collector.handle,
            linger=Linger(FOREVER),
        ),
    ):
        await until(is_delivered)
    await until(is_back)
    assert collector.batches == []


async def test_a_job_that_killed_its_worker_three_times_is_dead_and_the_orchestrator_hears_of_it(
    stack, channel, publisher
):
    job = NodeExecute(run_id=uuid4(), node_id="n", node_type="llm")
    await publisher.publish(job)
    for name in ("jobs.llm", "jobs.llm.suspect", "jobs.llm.suspect"):
        async with connect(stack.amqp_url, name="test", patience=5) as connection:
            queue = await (await connection.channel()).get_queue(name)
            async with queue.iterator(timeout=15) as jobs:
                assert (await anext(jobs)).message_id == job.message_id
                await connection.close()
    assert (await next_message(channel, "dead.jobs.llm")).message_id == job.message_id
    assert (await next_message(channel, DEAD_JOBS_QUEUE)).message_id == job.message_id


async def test_declaring_the_topology_again_changes_nothing(channel, publisher):
    await publisher.publish(run_start())
    await topology.declare(channel)
    assert (await next_message(channel, COMMANDS_QUEUE)).type == "run.start"


async def test_a_missing_queue_is_named(stack):
    async with connect(stack.amqp_url, name="test", patience=5) as connection:
        with pytest.raises(UnavailableError) as raised:
            await check_queue(await connection.channel(), "jobs.sharpen")
    assert raised.value.code == "topology_missing"
    assert "jobs.sharpen" in str(raised.value)


async def test_no_broker_and_a_wrong_password_are_told_apart(stack):
    with pytest.raises(UnavailableError) as raised:
        async with open_publisher("amqp://nobody@127.0.0.1:1/", app_id="test", patience=0):
            pass
    assert raised.value.code == "broker_unreachable"
    wrong = "amqp://nobody:secret@" + stack.amqp_url.rsplit("@", 1)[1]
    with pytest.raises(UnavailableError) as raised:
        async with open_publisher(wrong, app_id="test", patience=0):
            pass
    assert raised.value.code == "broker_refused"
    assert "secret" not in str(raised.value)
