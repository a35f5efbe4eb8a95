"""Noticing that this process takes no messages from a queue any more, though the broker is there.

A consumer can be gone while its connection stands: with its queue, when that is deleted, or without a word in a
failover. Where the broker tells of the loss, aio-pika consumes again by itself as soon as the queue is there again
(since 10.2; the integration tests see it do so). What it does not bring back ends the process, so that none looks
alive that does nothing.
"""

import asyncio
from collections.abc import Iterable, Sequence

from aio_pika.abc import AbstractQueue
from aio_pika.exceptions import AMQPError
from aiormq import Channel
from aiormq.exceptions import ChannelInvalidStateError, ChannelNotFoundEntity
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector
from structlog import get_logger

from shared.contracts.errors import unavailable
from shared.messaging.connection import silence_as_error

INTERVAL = 3.0  # seconds between looks
PATIENCE = 15.0  # seconds in which a consumer may come back
LOOK_TIMEOUT = 5.0  # seconds

Consumer = tuple[AbstractQueue, str | None]

log = get_logger(__name__)


class ConsumerWatch:
    """Looks after the consumers that this process has: queues, and the tags of their consumers.

    No tag is needed for the only consumer of a channel. A consumer is missing if the client knows that it is gone, or
    the broker says that its queue has none, or is not there. While the connection is lost, or the broker does not
    answer, nothing is judged: connections come back by themselves. The broker does not count those who read a
    stream, so `counted` is false for streams: then it is enough that the stream is there.
    """

    def __init__(
        self,
        consumers: Sequence[Consumer],
        *,
        interval: float = INTERVAL,
        patience: float = PATIENCE,
        counted: bool = True,
    ) -> None:
        self._consumers = consumers
        self._counted = counted
        self._interval = interval
        self._patience = patience
        self._missing: tuple[str, ...] = ()
        self.lost = 0  # how often consumers were found missing that had been there

    async def passes(self) -> bool:
        """Tell whether all consumers were there at the last look."""
        return not self._missing

    async def run(self) -> None:
        """Look again and again; raise UnavailableError `consumer_lost` once one was missing for too long."""
        clock = asyncio.get_running_loop().time
        complete_at = clock()
        while True:
            await asyncio.sleep(self._interval)
            await self._look()
            if not self._missing:
                complete_at = clock()
            elif clock() - complete_at >= self._interval + self._patience:
                raise unavailable(
                    "consumer_lost",
                    f"no messages are taken any more from {', '.join(self._missing)}",
                    where="WEFT_AMQP_URL",
                    fix="see that the queues are there: weft setup; then start the service again",
                )

    async def _look(self) -> None:
        found = await asyncio.gather(*(self._is_missing(queue, tag) for queue, tag in self._consumers))
        missing = tuple(queue.name for (queue, _), gone in zip(self._consumers, found, strict=True) if gone)
        self.lost += len(set(missing) - set(self._missing))
        if missing != self._missing:
            log.warning("consumers are missing" if missing else "all consumers are back", queues=missing)
        self._missing = missing

    async def _is_missing(self, queue: AbstractQueue, tag: str | None) -> bool:
        try:
            with silence_as_error():
                async with asyncio.timeout(LOOK_TIMEOUT):
                    return await self._look_at(queue, tag)
        except (ChannelNotFoundEntity, ChannelInvalidStateError):
            return True
        except (AMQPError, OSError, RuntimeError) as err:  # TimeoutError is an OSError
            log.info("a consumer could not be looked at", queue=queue.name, reason=str(err) or type(err).__name__)
            return False

    async def _look_at(self, queue: AbstractQueue, tag: str | None) -> bool:
        channel = await queue.channel.get_underlay_channel()
        assert isinstance(channel, Channel)
        if channel.connection.is_closed:
            return False
        if channel.is_closed or not (tag in channel.consumers if tag else channel.consumers):
            return True
        return await _consumers_at_broker(channel, queue.name) == 0 and self._counted


def count_lost(watch: ConsumerWatch, registry: CollectorRegistry) -> None:
    """Have a service's metrics say how often it lost consumers."""
    registry.register(_LostConsumers(watch))


class _LostConsumers(Collector):
    def __init__(self, watch: ConsumerWatch) -> None:
        self._watch = watch

    def collect(self) -> Iterable[CounterMetricFamily]:
        yield CounterMetricFamily("weft_consumers_lost", "Consumers that went missing", value=self._watch.lost)


async def _consumers_at_broker(channel: Channel, queue: str) -> int:
    """Ask over a channel of its own, since the broker closes the one that asks for a queue that is not there."""
    asking = await channel.connection.channel(publisher_confirms=False)
    try:
        return (await asking.queue_declare(queue, passive=True)).consumer_count or 0
    finally:
        await asking.close()
