"""Settling together: one acknowledgement for many where all before it is settled, and never one for what is not."""

import asyncio
from dataclasses import dataclass, field

import pytest
from aio_pika.exceptions import ChannelInvalidStateError

from shared.messaging.settling import Settling


@dataclass
class Channel:
    """A channel; `wire` is what was sent over it, and `busy` holds up what sends over it."""

    wire: list[tuple[str, int]] = field(default_factory=list)
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_closed: bool = False
    senders: list[asyncio.Task[None]] = field(default_factory=list)

    def cancel_senders(self):
        for task in self.senders:
            task.cancel()


@dataclass
class Incoming:
    """A delivery."""

    channel: Channel
    delivery_tag: int
    message_id: str = "message"

    async def ack(self, *, multiple):
        self.channel.wire.append(("all up to" if multiple else "ack", self.delivery_tag))
        sender = asyncio.current_task()
        assert sender
        self.channel.senders.append(sender)
        async with self.channel.busy:
            pass

    async def reject(self, *, requeue):
        if self.channel.is_closed:
            raise ChannelInvalidStateError
        self.channel.wire.append(("requeue" if requeue else "reject", self.delivery_tag))


@pytest.fixture
def channel():
    return Channel()


@pytest.fixture
def settling():
    return Settling()


@pytest.fixture
def acknowledge(settling, channel):
    async def all_at_once(*tags, over=channel):
        async with asyncio.timeout(5):
            await asyncio.gather(*(settling.acknowledge(Incoming(over, tag)) for tag in tags))

    return all_at_once


async def test_what_is_acknowledged_in_the_same_moment_is_so_together(channel, acknowledge):
    await acknowledge(2, 1, 3)
    await acknowledge(4)
    assert channel.wire == [("all up to", 3), ("all up to", 4)]


async def test_what_comes_after_something_in_hand_is_acknowledged_by_itself(channel, acknowledge):
    await acknowledge(2, 3)
    await acknowledge(1, 4)
    assert channel.wire == [("ack", 2), ("ack", 3), ("all up to", 4)]


async def test_a_rejected_delivery_is_not_acknowledged_with_others(channel, settling, acknowledge):
    await acknowledge(2)
    await settling.reject(Incoming(channel, 1))
    await acknowledge(3)
    assert channel.wire == [("ack", 2), ("reject", 1), ("all up to", 3)]


async def test_none_is_overtaken_by_one_that_holds_for_it_too(channel, acknowledge):
    async with channel.busy:
        first = asyncio.create_task(acknowledge(2, 4))
        await asyncio.wait([first], timeout=0.05)
        second = asyncio.create_task(acknowledge(1, 3, 5))
        await asyncio.wait([first, second], timeout=0.05)
        assert channel.wire == [("ack", 2)]
    await asyncio.gather(first, second)
    assert channel.wire == [("ack", 2), ("ack", 4), ("all up to", 5)]


async def test_over_a_channel_that_is_gone_nothing_is_settled_and_nobody_waits(channel, settling, acknowledge):
    channel.is_closed = True
    await acknowledge(1, 2)
    await settling.reject(Incoming(channel, 3))
    assert channel.wire == []
    reopened = Channel()
    await acknowledge(1, over=reopened)
    assert reopened.wire == [("all up to", 1)]


async def test_one_that_is_cancelled_keeps_no_other_waiting(channel, settling):
    cancelled, other = (asyncio.create_task(settling.acknowledge(Incoming(channel, tag))) for tag in (1, 2))
    await asyncio.sleep(0)
    cancelled.cancel()
    await other
    assert channel.wire == [("all up to", 2)]


async def test_a_channel_that_closes_under_an_acknowledgement_keeps_no_later_one_waiting(channel, acknowledge):
    async with channel.busy:
        first = asyncio.create_task(acknowledge(1))
        await asyncio.wait([first], timeout=0.05)
        second = asyncio.create_task(acknowledge(2))
        await asyncio.wait([second], timeout=0.05)
        channel.cancel_senders()
    await asyncio.gather(first, second)
    assert channel.wire == [("all up to", 1), ("all up to", 2)]
