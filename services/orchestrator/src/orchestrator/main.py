"""The orchestrator's process: its connections, its consumer, its health."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from structlog import get_logger

from orchestrator.alarm import Alarm
from orchestrator.domain.intake import Incoming
from orchestrator.handlers import Orchestrator
from orchestrator.journal import Journal
from shared.contracts.errors import UnavailableError
from shared.contracts.messages import read_command, read_job, read_result
from shared.database import connect_database
from shared.messaging.batches import BatchConsumer
from shared.messaging.connection import connect
from shared.messaging.publisher import open_publisher
from shared.service import Check, Service, health_app, new_registry, run
from shared.settings import Settings
from shared.topology import COMMANDS_QUEUE, DEAD_JOBS_QUEUE, RESULTS_QUEUE

NAME = "orchestrator"
JOURNAL_GRACE = timedelta(hours=24)
PRUNE_SECONDS = 600.0

log = get_logger(__name__)


@asynccontextmanager
async def create_service(settings: Settings) -> AsyncGenerator[Service]:
    """Yield the running orchestrator; on leaving, the batch in hand is finished."""
    amqp_url, patience = settings.require("amqp_url"), settings.startup_timeout
    registry = new_registry()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            connect_database(settings.require("database_url"), name=NAME, patience=patience, schema=NAME)
        )
        publisher = await stack.enter_async_context(open_publisher(amqp_url, app_id=NAME, patience=patience))
        connection = await stack.enter_async_context(connect(amqp_url, name=f"{NAME} consumer", patience=patience))
        journal = Journal(database)
        alarm = Alarm(journal, publisher)
        consumer = BatchConsumer[Incoming](
            await connection.channel(),
            {COMMANDS_QUEUE: read_command, RESULTS_QUEUE: read_result, DEAD_JOBS_QUEUE: read_job},
            Orchestrator(journal, publisher, alarm, registry).handle,
        )
        await consumer.start()
        stack.push_async_callback(consumer.stop)
        checks = [Check("database", database.answers), Check("consumer", consumer.is_alive)]
        background = (consumer.failure, alarm.ring, alarm.sweep, lambda: _prune_forever(journal))
        yield Service(health_app(checks, registry), background=background)


async def _prune_forever(journal: Journal) -> None:
    while True:
        try:
            await journal.prune(JOURNAL_GRACE)
        except UnavailableError as err:
            log.warning("journals not pruned, will be later", reason=str(err))
        await asyncio.sleep(PRUNE_SECONDS)


def main() -> None:
    """Run the orchestrator."""
    run(NAME, create_service)
