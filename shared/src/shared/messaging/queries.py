"""Answering questions over the broker: FastStream hands each to a handler, and sends what it returns as the reply."""

from collections.abc import Awaitable, Callable

from faststream import AckPolicy
from faststream.rabbit import Channel, RabbitBroker, RabbitMessage, RabbitQueue, RabbitResponse
from opentelemetry import trace

from shared.messaging.bodies import raw_body
from shared.messaging.connection import RECONNECT_SECONDS
from shared.settings import Settings
from shared.telemetry.messages import taken

CONCURRENT_QUERIES = 16


def query_broker(
    url: str,
    queue: str,
    handle: Callable[[RabbitMessage], Awaitable[RabbitResponse | None]],
    settings: Settings,
    *,
    app_id: str,
) -> RabbitBroker:
    """Return a broker that answers the questions of a queue once it is started."""
    broker = RabbitBroker(
        url,
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
