"""The run tracker's process: its connections, its consumer of events, its answers to queries."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from run_tracker.handlers import EventHandler, QueryHandler
from run_tracker.partitions import Partitions
from run_tracker.repository import RunRepository
from shared.contracts.bundles import Told, telling
from shared.contracts.events import AnyEvent, read_event
from shared.database import connect_database
from shared.messaging.batches import BatchConsumer, Linger
from shared.messaging.connection import connect
from shared.messaging.queries import answering
from shared.messaging.told import handling_told
from shared.service import Check, Service, health_app, run
from shared.settings import Settings
from shared.telemetry.metrics import new_registry
from shared.topology import HISTORY_QUEUE, QUERIES_QUEUE

NAME = "run_tracker"
LINGER = Linger(0.05)  # who watches a run hears of it from the stream, and a transaction per event costs ten times more


@asynccontextmanager
async def create_service(settings: Settings) -> AsyncGenerator[Service]:
    """Yield the running tracker; on leaving, the batch in hand is finished."""
    registry, patience = new_registry(NAME), settings.startup_timeout
    async with (
        connect_database(settings.require("database_url"), name=NAME, patience=patience, schema=NAME) as database,
        connect(settings.require("amqp_url"), name=NAME, patience=patience) as connection,
        BatchConsumer[Told[AnyEvent]](
            await connection.channel(),
            {HISTORY_QUEUE: telling(read_event)},
            handling_told(EventHandler(RunRepository(database), registry).record),
            name=NAME,
            linger=LINGER,
            registry=registry,
        ) as consumer,
        answering(QUERIES_QUEUE, QueryHandler(database).handle, settings, app_id=NAME),
    ):
        checks = [Check("database", database.answers), Check("consumer", consumer.is_alive)]
        yield Service(health_app(checks, registry), background=(consumer.failure, Partitions(database).keep_ahead))


def main() -> None:
    """Run the tracker."""
    run(NAME, create_service)
