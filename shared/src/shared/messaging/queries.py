"""Answering questions over the broker: FastStream hands each to a handler, and sends what it returns as the reply."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from faststream import AckPolicy
from faststream.rabbit import Channel, RabbitBroker, RabbitMessage, RabbitQueue, RabbitResponse
from opentelemetry import trace

from shared.messaging.bodies import raw_body
from shared.messaging.connection import RECONNECT_SECONDS
from shared.settings import Settings
from shared.telemetry.messages import taken

CONCURRENT_QUERIES = 16

Handle = Callable[[RabbitMessage], Awaitable[RabbitResponse | None]]


@asynccontextmanager
async def answering(queue: str, handle: Handle, settings: Settings, *, app_id: str) -> AsyncGenerator[None]:
    """Have the questions of a queue answered; on leaving, those in hand are."""
    broker = _broker(queue, handle, settings, app_id)
    await broker.start()
    try:
        yield
    finally:
        await broker.stop()


def _broker(queue: str, handle: Handle, settings: Settings, app_id: str) -> RabbitBroker:
    broker = RabbitBroker(
        settings.require("amqp_url"),
        app_id=app_id,
        graceful_timeout=settings.shutdown_timeout,
        reconnect_interval=RECONNECT_SECONDS,
        logger=None,
    )
    subscriber = broker.subscriber(
        RabbitQueue(queue, declare=False),
        channel=Channel(prefetch_count=CONCURRENT_QUERIES),
        ack_policy=AckPolicy.ACK,
        decoder=raw_body,
    )

    async def answer(delivery: RabbitMessage) -> RabbitResponse | None:
        with trace.use_span(taken(delivery.raw_message, queue), end_on_exit=True, record_exception=False):
            return await handle(delivery)

    subscriber(answer)
    return broker
