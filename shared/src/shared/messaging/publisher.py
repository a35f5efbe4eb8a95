"""Publishing that either is confirmed by the broker or raises; never anything in between."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from typing import Protocol

from aio_pika.abc import AbstractRobustChannel, DeliveryMode
from aio_pika.exceptions import AMQPError, DeliveryError, PublishError
from pamqp.commands import Basic
from pamqp.common import FieldValue
from prometheus_client import CollectorRegistry, Histogram
from structlog import get_logger

from shared import topology
from shared.contracts.bundles import Bundle, Publishable
from shared.contracts.commands import NodeAbandon
from shared.contracts.envelope import Message
from shared.contracts.errors import UnavailableError, invalid, unavailable
from shared.contracts.events import NodeProgress
from shared.messaging.connection import connect, silence_as_error
from shared.messaging.dead_letters import Letter
from shared.messaging.publishing_channel import PublishingChannel
from shared.messaging.sending_time import HEADER, in_milliseconds
from shared.telemetry.messages import publishing
from shared.telemetry.metrics import SECONDS
from shared.telemetry.propagation import inject

MAX_MESSAGE_BYTES = 12 * 1024 * 1024  # RabbitMQ 4 takes 16 MiB
INDEX_BYTES = 1024 * 1024  # what a bundle may have besides: an event that the broker took alone, it takes again
MAX_UNCONFIRMED = 500  # messages
MAX_TRANSIENT = 1_000  # messages that wait to be written; more are dropped
PUBLISH_TIMEOUT = 10.0  # seconds; a broker under a memory or disk alarm stops answering publishers

Address = Callable[[Publishable], tuple[str, str]]  # of a message: exchange and routing key

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Content:
    """What the broker is given of a message."""

    body: bytes
    properties: Basic.Properties


def content_of(message: Publishable, *, app_id: str) -> Content:
    """Return the message with the properties that every message of Weft carries; persistent, if it is to last.

    Raises InvalidInputError `message_too_large`.
    """
    now = datetime.now(UTC)
    headers: dict[str, FieldValue] = {HEADER: in_milliseconds(now)}
    inject(headers)
    properties = Basic.Properties(
        headers=headers,
        message_id=message.message_id,
        correlation_id=message.correlation_id,
        message_type=message.kind_name(),
        content_type=message.content_type,
        timestamp=now,
        app_id=app_id,
        delivery_mode=DeliveryMode.NOT_PERSISTENT if isinstance(message, NodeProgress) else DeliveryMode.PERSISTENT,
    )
    return Content(_body(message), properties)


def _body(message: Publishable) -> bytes:
    body = message.to_body()
    if len(body) > MAX_MESSAGE_BYTES + (INDEX_BYTES if isinstance(message, Bundle) else 0):
        # The broker would close the channel, and trying again would not help.
        raise invalid(
            "message_too_large",
            f"a message of {len(body):,} bytes is over the limit of {MAX_MESSAGE_BYTES:,}",
            where=message.message_id,
            fix="pass less text from node to node",
        )
    return body


class MessagePublisher(Protocol):
    """What publishes messages; see `Publisher` for what each method guarantees."""

    async def publish(self, message: Message) -> None:
        """Return once the message is safe."""
        ...

    async def publish_all(self, messages: Iterable[Message]) -> None:
        """Return once all messages are safe."""
        ...

    def publish_unawaited(self, message: Message) -> None:
        """Publish what matters only while it is fresh."""
        ...


class BundlePublisher(MessagePublisher, Protocol):
    """What publishes messages, and events in bundles."""

    async def publish_all(self, messages: Iterable[Publishable]) -> None:
        """Return once all are safe."""
        ...

    def publish_unawaited(self, message: Publishable) -> None:
        """Publish what matters only while it is fresh."""
        ...


class Publisher:
    """Publishes on a connection of its own, since the broker stops reading from publishers when it is in need."""

    def __init__(
        self,
        channel: AbstractRobustChannel,
        unconfirmed: AbstractRobustChannel,
        *,
        app_id: str,
        address: Address = topology.address,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._channel = PublishingChannel(channel)
        self._unconfirmed = PublishingChannel(unconfirmed)
        self._app_id = app_id
        self._address = address
        seconds = Histogram(
            "weft_publish_seconds",
            "Time until the broker confirmed a message",
            ["exchange"],
            buckets=SECONDS,
            registry=registry,
        )
        self._seconds = cache(seconds.labels)
        self._in_flight: dict[str, asyncio.Future[None]] = {}
        self._sending = asyncio.Semaphore(MAX_UNCONFIRMED)
        self._unawaited: set[asyncio.Task[None]] = set()
        self._transient: set[asyncio.Task[None]] = set()

    async def publish(self, message: Publishable) -> None:
        """Return once the broker has the message safe in a queue; raise UnavailableError if that is not certain.

        Raises InvalidInputError `message_too_large`.
        """
        where, mandatory = self._address(message), not isinstance(message, NodeAbandon)
        with publishing(message, *where):
            content = partial(content_of, message, app_id=self._app_id)
            await self._publish_once(message.message_id, content, where, mandatory=mandatory)

    async def republish(self, letter: Letter) -> None:
        """Return once a dead letter is safe where it had been published to, as it was; raise as `publish` does."""
        content = Content(letter.body, letter.properties(app_id=self._app_id))
        where = letter.death.exchange, letter.death.routing_key
        await self._publish_once(letter.message_id or letter.id, lambda: content, where, mandatory=True)

    async def _publish_once(
        self, identity: str, content: Callable[[], Content], where: tuple[str, str], *, mandatory: bool
    ) -> None:
        # A returned message is told from its neighbours by its id alone, so an id is in flight once at a time.
        while earlier := self._in_flight.get(identity):
            await asyncio.wait([earlier])
        self._in_flight[identity] = done = asyncio.get_running_loop().create_future()
        try:
            # The patience with one message begins when it is sent, not while thousands are before it.
            async with self._sending:
                await self._publish_confirmed(content, where, mandatory=mandatory)
        finally:
            del self._in_flight[identity]
            done.set_result(None)

    async def publish_all(self, messages: Iterable[Publishable]) -> None:
        """Publish all, confirms pipelined; equal messages once. Raises if any of them was not confirmed."""
        distinct = {message.message_id: message for message in messages}
        results = await asyncio.gather(*map(self.publish, distinct.values()), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def publish_unawaited(self, message: Publishable) -> None:
        """Publish something that matters only while it is fresh: its loss is logged, not raised."""
        task = asyncio.create_task(self._publish_or_log(message))
        self._unawaited.add(task)
        task.add_done_callback(self._unawaited.discard)

    def publish_transient(self, message: Message) -> None:
        """Publish something that only those get who watch, without a confirm; dropped where the broker is slow."""
        if len(self._transient) >= MAX_TRANSIENT:
            return
        task = asyncio.create_task(self._write(message))
        self._transient.add(task)
        task.add_done_callback(self._transient.discard)

    async def drain(self) -> None:
        """Wait for what was published unawaited."""
        if waiting := self._unawaited | self._transient:
            await asyncio.wait(waiting)

    async def _publish_or_log(self, message: Publishable) -> None:
        try:
            await self.publish(message)
        except UnavailableError as err:
            log.warning("not published", message_id=message.message_id, reason=str(err))

    async def _write(self, message: Message) -> None:
        exchange, routing_key = self._address(message)
        with suppress(TimeoutError, AMQPError, OSError, RuntimeError), silence_as_error():
            async with asyncio.timeout(PUBLISH_TIMEOUT):
                content = content_of(message, app_id=self._app_id)
                await self._unconfirmed.send(content.body, content.properties, exchange, routing_key, mandatory=False)

    async def _publish_confirmed(self, make: Callable[[], Content], where: tuple[str, str], *, mandatory: bool) -> None:
        exchange, routing_key = where
        try:
            with self._seconds(exchange).time(), silence_as_error():
                async with asyncio.timeout(PUBLISH_TIMEOUT):
                    content = make()
                    await self._channel.send(content.body, content.properties, *where, mandatory=mandatory)
        except PublishError as err:
            raise unavailable(
                "unroutable",
                f"no queue is bound for {routing_key!r} on exchange {exchange!r}",
                where="WEFT_AMQP_URL",
                fix="declare the topology: weft setup",
            ) from err
        except (TimeoutError, AMQPError, DeliveryError, OSError, RuntimeError) as err:
            raise unavailable(
                "publish_failed",
                f"the broker did not confirm a message within {PUBLISH_TIMEOUT:.0f} s: {err or type(err).__name__}",
                where="WEFT_AMQP_URL",
                fix="look at the broker's alarms and connections",
            ) from err


@asynccontextmanager
async def open_publisher(
    url: str,
    *,
    app_id: str,
    patience: float,
    address: Address = topology.address,
    registry: CollectorRegistry | None = None,
) -> AsyncGenerator[Publisher]:
    """Yield a publisher on a connection of its own; what it still has in flight is waited for at the end."""
    async with connect(url, name=f"{app_id} publisher", patience=patience) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        assert isinstance(channel, AbstractRobustChannel)
        unconfirmed = await connection.channel(publisher_confirms=False)
        assert isinstance(unconfirmed, AbstractRobustChannel)
        publisher = Publisher(channel, unconfirmed, app_id=app_id, address=address, registry=registry)
        yield publisher
        await publisher.drain()
