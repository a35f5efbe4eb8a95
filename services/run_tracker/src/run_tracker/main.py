"""The run tracker's process: its connections, its consumer of events, its answers to queries."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from run_tracker.handlers import EventHandler, QueryHandler
from run_tracker.partitions import Partitions
from run_tracker.repository import RunRepository
from shared.contracts.events import Event, read_event
from shared.database import connect_database
from shared.messaging.batches import BatchConsumer
from shared.messaging.connection import connect
from shared.messaging.queries import query_broker
from shared.service import Check, Service, health_app, run
from shared.settings import Settings
from shared.telemetry.metrics import new_registry
from shared.topology import HISTORY_QUEUE, QUERIES_QUEUE

NAME = "run_tracker"


@asynccontextmanager
async def create_service(settings: Settings) -> AsyncGenerator[Service]:
    """Yield the running tracker; on leaving, the batch in hand is finished."""
    url, patience = settings.require("amqp_url"), settings.startup_timeout
    registry = new_registry(NAME)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            connect_database(settings.require("database_url"), name=NAME, patience=patience, schema=NAME)
        )
        connection = await stack.enter_async_context(connect(url, name=NAME, patience=patience))
        consumer = BatchConsumer[Event](
            await connection.channel(),
            {HISTORY_QUEUE: read_event},
            EventHandler(RunRepository(database), registry).handle,
            name=NAME,
            registry=registry,
        )
        await consumer.start()
        stack.push_async_callback(consumer.stop)
        broker = query_broker(url, QUERIES_QUEUE, QueryHandler(database).handle, settings, app_id=NAME)
        await broker.start()
        stack.push_async_callback(broker.stop)
        checks = [Check("database", database.answers), Check("consumer", consumer.is_alive)]
        yield Service(health_app(checks, registry), background=(consumer.failure, Partitions(database).keep_ahead))


def main() -> None:
    """Run the tracker."""
    run(NAME, create_service)
