"""The run tracker's process: its connections, its consumer of events, its answers to queries."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from faststream import AckPolicy
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

from run_tracker.handlers import EventHandler, QueryHandler
from run_tracker.repository import RunRepository
from shared.contracts.messages import Event, read_event
from shared.database import connect_database
from shared.messaging.batches import BatchConsumer
from shared.messaging.bodies import raw_body
from shared.messaging.connection import RECONNECT_SECONDS, connect
from shared.service import Check, Service, health_app, new_registry, run
from shared.settings import Settings
from shared.topology import HISTORY_QUEUE, QUERIES_QUEUE

NAME = "run_tracker"
CONCURRENT_QUERIES = 16


@asynccontextmanager
async def create_service(settings: Settings) -> AsyncGenerator[Service]:
    """Yield the running tracker; on leaving, the batch in hand is finished."""
    url, patience = settings.require("amqp_url"), settings.startup_timeout
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            connect_database(settings.require("database_url"), name=NAME, patience=patience, schema=NAME)
        )
        repository = RunRepository(database)
        connection = await stack.enter_async_context(connect(url, name=NAME, patience=patience))
        consumer = BatchConsumer[Event](
            await connection.channel(), {HISTORY_QUEUE: read_event}, EventHandler(repository).handle
        )
        await consumer.start()
        stack.push_async_callback(consumer.stop)
        broker = _query_broker(url, QueryHandler(repository), settings.shutdown_timeout)
        await broker.start()
        stack.push_async_callback(broker.stop)
        checks = [Check("database", database.answers), Check("consumer", consumer.is_alive)]
        yield Service(health_app(checks, new_registry()), background=(consumer.failure,))


def _query_broker(url: str, handler: QueryHandler, graceful_timeout: float) -> RabbitBroker:
    broker = RabbitBroker(
        url, app_id=NAME, graceful_timeout=graceful_timeout, reconnect_interval=RECONNECT_SECONDS, logger=None
    )
    subscriber = broker.subscriber(
        RabbitQueue(QUERIES_QUEUE, declare=False),
        channel=Channel(prefetch_count=CONCURRENT_QUERIES),
        ack_policy=AckPolicy.ACK,
        decoder=raw_body,
    )
    subscriber(handler.handle)
    return broker


def main() -> None:
    """Run the tracker."""
    run(NAME, create_service)
