"""The stream of live events on a real broker: the same for every reader, and no loss unnoticed."""

import asyncio
from datetime import UTC, datetime
from itertools import pairwise
from uuid import uuid4

import pytest
from tests.integration.line import line_to

from shared import topology
from shared.contracts.bundles import Bundle, bundled
from shared.contracts.events import NodeProgress, NodeSkipped, read_live_event
from shared.messaging.connection import connect
from shared.messaging.live import OWN_RECORDS, PLACES, EventFeed
from shared.messaging.publisher import MAX_MESSAGE_BYTES
from shared.topology import (
    HISTORY_QUEUE,
    LIVE_STREAM,
    STREAM_MAX_BYTES,
    STREAM_SEGMENT_BYTES,
    check_queue,
)

pytestmark = pytest.mark.usefixtures("empty_queues")


class Heard:
    """What a feed told."""

    def __init__(self):
        self.events, self.gaps = [], 0
        self.changed = asyncio.Event()

    def take(self, told):
        self.events.append(told)
        self.changed.set()

    def miss(self):
        self.gaps += 1

    async def of(self, messages):
        """Return what was told of these messages, once all of them were."""
        wanted = {message.message_id for message in messages}
        async with asyncio.timeout(20):
            while len(told := [item for item in self.events if item.message_id in wanted]) < len(wanted):
                self.changed.clear()
                await self.changed.wait()
        return told


def piece(number, text="word "):
    at = datetime.now(UTC)
    return NodeProgress(run_id=uuid4(), node_id="n", node_type="llm", at=at, sequence=number, text=text)


def skipped(number):
    return NodeSkipped(run_id=uuid4(), node_id=f"n{number}", node_type="llm", at=datetime.now(UTC), because_of="ask")


async def test_progress_reaches_those_who_listen_and_no_history(stack, channel, worker_publisher):
    async with connect(stack.amqp_url, name="test", patience=5) as connection:
        heard = Heard()
        await EventFeed.open(connection, heard.take, heard.miss, history=0)
        pieces = [piece(number) for number in (1, 2)]
        for told in pieces:
            worker_publisher.publish_transient(told)
        assert [read_live_event(told.body) for told in await heard.of(pieces)] == pieces
    history = await check_queue(channel, HISTORY_QUEUE)
    assert history.declaration_result.message_count == 0


async def test_all_feeds_tell_the_same_in_the_same_places_also_those_opened_later(stack, worker_publisher):
    pieces = [piece(number) for number in range(1, 6)]
    early, late = Heard(), Heard()
    async with connect(stack.amqp_url, name="test", patience=5) as connection:
        await EventFeed.open(connection, early.take, early.miss, history=0)
        await worker_publisher.publish_all(pieces)
        await early.of(pieces)
        await EventFeed.open(connection, late.take, late.miss, history=1_000)
        told = await late.of(pieces)
        assert told == await early.of(pieces)
    assert (early.gaps, late.gaps) == (0, 0)


async def test_events_in_bundles_have_places_of_their_own_in_their_order(stack, publisher):
    events = [skipped(number) for number in range(5)]
    heard = Heard()
    async with connect(stack.amqp_url, name="test", patience=5) as connection:
        await EventFeed.open(connection, heard.take, heard.miss, history=0)
        for bundle in (*bundled(events[:3]), *bundled(events[3:])):
            await publisher.publish(bundle)
        told = await heard.of(events)
    assert [read_live_event(item.body) for item in told] == events
    assert [(item.run_id, item.kind, item.node_type) for item in told] == [
        (event.run_id, event.kind, event.node_type) for event in events
    ]
    first = told[0].position
    assert [item.position - first for item in told] == [0, 1, 2, PLACES, PLACES + 1]
    assert heard.gaps == 0


async def test_a_bundle_that_cannot_be_read_is_passed_over(stack, publisher):
    heard, after = Heard(), [skipped(1)]
    async with connect(stack.amqp_url, name="test", patience=5) as connection:
        await EventFeed.open(connection, heard.take, heard.miss, history=0)
        await publisher.publish(Bundle("broken", b"no index", 1, NodeSkipped))
        for bundle in bundled(after):
            await publisher.publish(bundle)
        assert [item.message_id for item in await heard.of(after)] == [after[0].message_id]


async def test_where_the_stream_begins_a_segment_no_event_is_missed(stack, worker_publisher):
    """The broker's own record, with which a segment begins, takes a position."""
    large = "x" * (STREAM_SEGMENT_BYTES // 3)
    pieces = [piece(number, large) for number in range(1, 9)]
    heard = Heard()
    async with connect(stack.amqp_url, name="test", patience=5) as connection:
        await EventFeed.open(connection, heard.take, heard.miss, history=0)
        await worker_publisher.publish_all(pieces)
        offsets = [item.position // PLACES for item in await heard.of(pieces)]
    assert {after - before for before, after in pairwise(offsets)} == {1, 1 + OWN_RECORDS}
    assert heard.gaps == 0


async def test_a_feed_whose_line_was_cut_goes_on_where_it_was(stack, worker_publisher):
    before, meanwhile, after = piece(1), piece(2), piece(3)
    heard = Heard()
    async with (
        line_to(stack.amqp_url) as line,
        connect(line.url, name="test", patience=5) as connection,
    ):
        feed = await EventFeed.open(connection, heard.take, heard.miss, history=0)
        running = asyncio.create_task(feed.run())
        await worker_publisher.publish(before)
        await heard.of([before])
        await line.cut()
        await worker_publisher.publish(meanwhile)
        await line.restore()
        await worker_publisher.publish(after)
        await heard.of([before, meanwhile, after])
        running.cancel()
    assert heard.gaps == 0


async def test_what_the_stream_dropped_before_it_was_read_is_a_gap(stack, worker_publisher, admin):
    size = MAX_MESSAGE_BYTES - 1_000
    heard = Heard()
    async with (
        line_to(stack.amqp_url) as line,
        connect(line.url, name="test", patience=5) as connection,
    ):
        feed = await EventFeed.open(connection, heard.take, heard.miss, history=0)
        running = asyncio.create_task(feed.run())
        await worker_publisher.publish(before := piece(1))
        await heard.of([before])
        await line.cut()
        for number in range(2, 4 + STREAM_MAX_BYTES // size):
            await worker_publisher.publish(piece(number, "x" * size))
        await worker_publisher.publish(after := piece(1))
        await line.restore()
        await heard.of([before, after])
        running.cancel()
    assert heard.gaps == 1
    await admin.queue_delete(LIVE_STREAM)  # lest later gateways read all that


@pytest.mark.parametrize("count", [1, 5, 50])
async def test_a_stream_that_was_made_anew_is_a_gap_and_its_events_are_told(stack, worker_publisher, admin, count):
    heard = Heard()
    before, after = [piece(number + 1) for number in range(count)], [piece(number) for number in (1, 2, 3)]
    async with (
        line_to(stack.amqp_url) as line,
        connect(line.url, name="test", patience=5) as connection,
    ):
        feed = await EventFeed.open(connection, heard.take, heard.miss, history=0)
        running = asyncio.create_task(feed.run())
        await worker_publisher.publish_all(before)
        await heard.of(before)
        await line.cut()
        await admin.queue_delete(LIVE_STREAM)
        await topology.declare(admin)
        await line.restore()
        async with asyncio.timeout(20):
            while not heard.gaps:  # at first nobody reads it yet; and times are in seconds
                await worker_publisher.publish(piece(1))
                await asyncio.sleep(0.1)
        await worker_publisher.publish_all(after)
        await heard.of(after)
        running.cancel()
    assert heard.gaps == 1
