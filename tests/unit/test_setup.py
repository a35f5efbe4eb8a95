"""Setting up a broker that has just started."""

import pytest
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed

from shared import setup, topology
from shared.contracts.errors import UnavailableError, unavailable


class Broker:
    """A connection to a broker that refuses the first declarations."""

    def __init__(self, refusal, times):
        self.refusals = [refusal] * times

    async def channel(self):
        return self

    async def declare(self, _):
        if self.refusals:
            raise unavailable("topology_refused", "the broker refuses", where="WEFT_AMQP_URL") from self.refusals.pop()


@pytest.fixture
def broker(monkeypatch):
    def broker(refusal, times):
        broker = Broker(refusal, times)
        monkeypatch.setattr(topology, "declare", broker.declare)
        return broker

    monkeypatch.setattr(setup, "RETRY_SECONDS", 0.0)
    return broker


async def test_a_stream_that_is_not_up_yet_is_waited_for(broker):
    starting = broker(ChannelNotFoundEntity("home node of durable queue is down or inaccessible"), times=3)
    await setup._declare(starting, patience=60)
    assert not starting.refusals


async def test_it_is_not_waited_for_without_end(broker):
    with pytest.raises(UnavailableError, match="refuses"):
        await setup._declare(broker(ChannelNotFoundEntity("still down"), times=3), patience=-1)


async def test_a_queue_with_other_arguments_is_told_at_once(broker):
    differing = broker(ChannelPreconditionFailed("inequivalent arg"), times=3)
    with pytest.raises(UnavailableError, match="refuses"):
        await setup._declare(differing, patience=60)
    assert len(differing.refusals) == 2
