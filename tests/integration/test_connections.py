"""Connections in trouble: a broker that falls silent, channels that it closes, and what asking now and then leaves."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from tests.integration.relay import relay_to

from shared.contracts.errors import UnavailableError
from shared.contracts.events import NodeSucceeded
from shared.contracts.values import TextValue
from shared.messaging.connection import brief_channel, connect, silence_as_error
from shared.messaging.consumer_watch import ConsumerWatch
from shared.messaging.publisher import open_publisher
from shared.topology import RESULTS_QUEUE, worker_address
from shared.worker.results import Results

GIVEN_UP_SECONDS = 6.0  # until a connection with heartbeats of a second is given up: three times a second more
PUBLISHERS = 16
MISSING = "test.missing"

pytestmark = pytest.mark.usefixtures("empty_queues")


def result(node_id="ask"):
    return NodeSucceeded(
        run_id=uuid4(), node_id=node_id, node_type="llm", at=datetime.now(UTC), output=TextValue(text="")
    )


@asynccontextmanager
async def relay_with_heartbeats(broker):
    async with relay_to(broker) as (relay, url):
        yield relay, f"{url}?heartbeat=1"


async def test_who_publishes_while_the_broker_falls_silent_is_told_of_an_error_and_can_go_on(stack):
    async with (
        relay_with_heartbeats(stack.amqp_url) as (relay, url),
        open_publisher(url, app_id="test", patience=5, address=worker_address) as publisher,
    ):
        results = Results(publisher)
        await results.publish(result())
        relay.fall_silent()
        async with asyncio.timeout(2 * GIVEN_UP_SECONDS):
            outcomes = await asyncio.gather(
                *(results.publish(result(str(number))) for number in range(3)),
                publisher.publish_all([result(), result()]),
                return_exceptions=True,
            )
        assert [type(outcome) for outcome in outcomes] == [UnavailableError] * 4
        relay.recover()
        async with asyncio.timeout(2 * GIVEN_UP_SECONDS):
            await results.publish(result())
            await publisher.publish_all([result(), result()])


async def test_a_watch_goes_on_though_the_broker_falls_silent(stack):
    async with (
        relay_with_heartbeats(stack.amqp_url) as (relay, url),
        connect(url, name="test", patience=5) as connection,
    ):
        queue = await (await connection.channel()).get_queue(RESULTS_QUEUE)

        async def take(_):
            pass

        watch = ConsumerWatch([(queue, await queue.consume(take))], interval=0.05, patience=60)
        watching = asyncio.create_task(watch.run())
        relay.fall_silent()
        ended, _ = await asyncio.wait([watching], timeout=1.5 * GIVEN_UP_SECONDS)
        assert not ended
        watching.cancel()
        relay.cut()


async def test_who_is_asked_to_end_ends_though_silence_is_an_error():
    async def wait():
        with silence_as_error():
            await asyncio.Event().wait()

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.mark.parametrize("lag", [0.0, 0.002, 0.005])
async def test_publishing_goes_on_once_an_exchange_is_there_again(stack, channel, lag):
    published = 0

    async def publish(publisher):
        nonlocal published
        while not published:
            try:
                await publisher.publish(result())
                published += 1
            except UnavailableError:
                await asyncio.sleep(0.003)

    async with (
        relay_to(stack.amqp_url, lag=lag) as (_, url),
        open_publisher(url, app_id="test", patience=5, address=lambda _: (MISSING, "")) as publisher,
    ):
        publishing = [asyncio.create_task(publish(publisher)) for _ in range(PUBLISHERS)]
        await asyncio.sleep(1)  # many are refused meanwhile, and close their channel, also while it is opened again
        assert not published
        exchange = await channel.declare_exchange(MISSING, auto_delete=True)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, "")
        async with asyncio.timeout(5):
            await asyncio.gather(*publishing)
        assert published


async def test_brief_channels_leave_nothing_with_their_connection(stack):
    async with connect(stack.amqp_url, name="test", patience=5) as connection:
        assert connection.transport
        underlay: Any = connection.transport.connection

        def kept():
            return len(underlay.channels), len(underlay._closing._callbacks)  # the latter, to be told of its end

        before = kept()
        for _ in range(20):
            async with brief_channel(connection):
                pass
        assert kept() == before
