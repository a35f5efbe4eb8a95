"""Consumers that vanish while the connection stands: they come back, or the process is told that they do not."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from aio_pika import Message as AmqpMessage
from tests.integration.test_messaging import Collector, depth

from shared import topology
from shared.contracts.errors import Problem, UnavailableError
from shared.contracts.events import NodeFailed, read_event, read_result
from shared.messaging.batches import BatchConsumer
from shared.messaging.connection import connect
from shared.messaging.consumer_watch import ConsumerWatch
from shared.messaging.live import EventFeed
from shared.topology import HISTORY_QUEUE, LIVE_STREAM, RESULTS_QUEUE

pytestmark = pytest.mark.usefixtures("empty_queues")
READERS = {RESULTS_QUEUE: read_result, HISTORY_QUEUE: read_event}
PATIENCE = 30.0  # seconds; the promise is that a queue is consumed again within them


def failed():
    return NodeFailed(
        run_id=uuid4(), node_id="n", node_type="llm", at=datetime.now(UTC), error=Problem(code="x", message="x")
    )


@asynccontextmanager
async def consuming(stack, collector):
    """Yield a consumer, and its queues with the tags of their consumers."""
    watched = []

    def watch(consumers):
        watched.extend(consumers)
        return ConsumerWatch(consumers, interval=0.05, patience=0.3)

    async with connect(stack.amqp_url, name="test", patience=5) as connection:
        consumer = BatchConsumer(await connection.channel(), READERS, collector.handle, watch=watch)
        await consumer.start()
        try:
            yield consumer, watched
        finally:
            await consumer.stop()


async def delete(admin, queue, watched):
    """Delete a queue; return when its consumer was told.

    A quorum queue that is made anew before that, within a millisecond, counts the consumer as its own, and yet what
    it hands out to it never arrives (seen with RabbitMQ 3.10); from outside nobody can tell it from an idle one.
    """
    told = asyncio.Event()
    consumed = next(consumed for consumed, _ in watched if consumed.name == queue)
    channel = await consumed.channel.get_underlay_channel()
    channel.on_consumer_cancel_callbacks.add(lambda _: told.set())
    await admin.queue_delete(queue)
    async with asyncio.timeout(PATIENCE):
        await told.wait()


async def send(channel, message, queue):
    """Put a message into one queue, as if it had been routed there."""
    await channel.default_exchange.publish(AmqpMessage(message.to_json(), message_id=message.message_id), queue)


async def has_failed(consumer):
    with pytest.raises(UnavailableError) as raised:
        async with asyncio.timeout(PATIENCE):
            await consumer.failure()
    return raised.value


@pytest.mark.parametrize("queue", READERS)
async def test_a_queue_that_was_deleted_is_consumed_again_when_it_is_there_again(stack, admin, queue):
    collector = Collector(1)
    async with consuming(stack, collector) as (consumer, watched):
        await delete(admin, queue, watched)
        await topology.declare(admin)
        async with asyncio.timeout(PATIENCE):
            await send(admin, failed(), queue)
            await collector.done.wait()
        assert await consumer.is_alive()
    assert await depth(admin, queue) == 0


async def test_a_batch_in_hand_while_its_queue_is_deleted_harms_nobody(stack, admin):
    working, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_):
        working.set()
        await go_on.wait()

    collector = Collector(4, wait)
    async with consuming(stack, collector) as (consumer, watched), asyncio.timeout(PATIENCE):
        await send(admin, failed(), RESULTS_QUEUE)
        await working.wait()
        await send(admin, failed(), HISTORY_QUEUE)
        await delete(admin, RESULTS_QUEUE, watched)
        go_on.set()
        await topology.declare(admin)
        for queue in READERS:
            await send(admin, failed(), queue)
        await collector.done.wait()
        assert await consumer.is_alive()
    assert [await depth(admin, queue) for queue in READERS] == [0, 0]


async def test_a_queue_that_stays_away_ends_the_process(stack, admin):
    async with consuming(stack, Collector(1)) as (consumer, watched):
        await delete(admin, RESULTS_QUEUE, watched)
        failure = await has_failed(consumer)
        assert failure.code == "consumer_lost"
        assert RESULTS_QUEUE in str(failure)
        assert HISTORY_QUEUE not in str(failure)
        assert not await consumer.is_alive()


async def test_a_consumer_that_the_broker_has_forgotten_ends_the_process(stack, admin):
    """As after a failover: the client is told nothing, so nothing brings the consumer back."""
    async with consuming(stack, Collector(1)) as (consumer, watched):
        queue, tag = watched[0]
        channel = await queue.channel.get_underlay_channel()
        receive = channel.consumers[tag]
        await channel.basic_cancel(tag)
        channel.consumers[tag] = receive
        assert (await has_failed(consumer)).code == "consumer_lost"


async def test_a_consumer_that_the_client_has_lost_ends_the_process_although_others_consume(stack, admin):
    async with consuming(stack, Collector(1)), consuming(stack, Collector(1)) as (consumer, watched):
        queue, tag = watched[0]
        await (await queue.channel.get_underlay_channel()).basic_cancel(tag)
        assert (await has_failed(consumer)).code == "consumer_lost"


async def test_a_connection_that_was_lost_is_waited_for(stack, admin):
    collector = Collector(1)
    async with consuming(stack, collector) as (consumer, watched):
        channel = await watched[0][0].channel.get_underlay_channel()
        watching = asyncio.create_task(consumer.failure())
        async with asyncio.timeout(PATIENCE):
            await channel.connection.close()
            await send(admin, failed(), RESULTS_QUEUE)
            await collector.done.wait()
        assert not watching.done()
        watching.cancel()


@asynccontextmanager
async def feeding(stack):
    """Yield the task of a feed that looks after itself every 50 ms."""

    def watch(consumers):
        return ConsumerWatch(consumers, interval=0.05, patience=0.3, counted=False)

    async with connect(stack.amqp_url, name="test", patience=5) as connection:
        feed = await EventFeed.open(connection, lambda _: None, lambda: None, history=0, watch=watch)
        running = asyncio.create_task(feed.run())
        yield running
        running.cancel()


async def test_a_stream_that_is_read_is_not_taken_for_one_that_nobody_reads(stack):
    async with feeding(stack) as running:
        ended, _ = await asyncio.wait([running], timeout=2)
        assert not ended


async def test_a_stream_that_is_gone_ends_its_reader(stack, admin):
    async with feeding(stack) as running:
        await admin.queue_delete(LIVE_STREAM)
        with pytest.raises(UnavailableError, match="consumer_lost"):
            async with asyncio.timeout(PATIENCE):
                await running
