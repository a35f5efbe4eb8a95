"""Connections in trouble: a broker that falls silent, channels that it closes, and what asking now and then leaves."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from aio_pika import Message
from tests.integration.line import line_to

from shared.contracts.errors import UnavailableError
from shared.contracts.events import NodeSucceeded
from shared.contracts.values import TextValue
from shared.messaging import dead_letters, levels
from shared.messaging.connection import brief_channel, connect, silence_as_error
from shared.messaging.consumer_watch import ConsumerWatch
from shared.messaging.publisher import open_publisher
from shared.topology import RESULTS_QUEUE, worker_address
from shared.worker.results import Results

HEARTBEAT = "?heartbeat=1"
GIVEN_UP_SECONDS = 6.0  # until a connection with such heartbeats is given up: three times a second more
PUBLISHERS = 16
MISSING = "test.missing"

pytestmark = pytest.mark.usefixtures("empty_queues")


def result(node_id="ask"):
    return NodeSucceeded(
        run_id=uuid4(), node_id=node_id, node_type="llm", at=datetime.now(UTC), output=TextValue(text="")
    )


async def test_who_publishes_while_the_broker_falls_silent_is_told_of_an_error_and_can_go_on(stack):
    async with (
        line_to(stack.amqp_url) as line,
        open_publisher(line.url + HEARTBEAT, app_id="test", patience=5, address=worker_address) as publisher,
    ):
        results = Results(publisher)
        await results.publish(result())
        await line.freeze()
        async with asyncio.timeout(2 * GIVEN_UP_SECONDS):
            outcomes = await asyncio.gather(
                *(results.publish(result(str(number))) for number in range(3)),
                publisher.publish_all([result(), result()]),
                return_exceptions=True,
            )
        assert [type(outcome) for outcome in outcomes] == [UnavailableError] * 4
        await line.thaw()
        async with asyncio.timeout(2 * GIVEN_UP_SECONDS):
            await results.publish(result())
            await publisher.publish_all([result(), result()])


async def test_a_watch_goes_on_though_the_broker_falls_silent(stack):
    async with (
        line_to(stack.amqp_url) as line,
        connect(line.url + HEARTBEAT, name="test", patience=5) as connection,
    ):
        queue = await (await connection.channel()).get_queue(RESULTS_QUEUE)

        async def take(_):
            pass

        watch = ConsumerWatch([(queue, await queue.consume(take))], interval=0.05, patience=60)
        watching = asyncio.create_task(watch.run())
        await line.freeze()
        ended, _ = await asyncio.wait([watching], timeout=1.5 * GIVEN_UP_SECONDS)
        assert not ended
        watching.cancel()
        await line.cut()


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
        line_to(stack.amqp_url, lag=lag) as line,
        open_publisher(line.url, app_id="test", patience=5, address=lambda _: (MISSING, "")) as publisher,
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


@pytest.mark.parametrize("answers", [8, 9, 10, 11])  # between the handshake and the end
async def test_looking_at_queues_ends_though_the_broker_falls_silent(stack, monkeypatch, answers):
    monkeypatch.setattr(levels, "READ_SECONDS", 0.5)
    async with line_to(stack.amqp_url) as line:
        await line.freeze(after=answers)
        async with asyncio.timeout(15):
            with pytest.raises(UnavailableError, match="broker_unreachable"):
                await levels.LevelReader(line.url).read()


async def test_reading_dead_letters_ends_though_the_broker_falls_silent(stack, monkeypatch, channel):
    monkeypatch.setattr(dead_letters, "SILENCE_SECONDS", 0.5)
    await channel.default_exchange.publish(Message(b"{}"), "dead.jobs.llm")
    async with line_to(stack.amqp_url) as line, asyncio.timeout(15):
        with pytest.raises(UnavailableError, match="broker_unreachable"):
            await read_dead_letters(line)


async def read_dead_letters(line):
    async with dead_letters.open_dead_queue(line.url, "dead.jobs.llm") as queue:
        await line.freeze()
        await queue.read(lambda _: None)
