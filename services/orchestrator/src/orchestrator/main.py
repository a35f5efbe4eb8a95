"""The orchestrator's process: its connections, its consumer, its health."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

from aio_pika.abc import AbstractChannel
from prometheus_client import CollectorRegistry
from structlog import get_logger

from orchestrator import cache
from orchestrator.admission import Admission
from orchestrator.alarm import Alarm
from orchestrator.domain.intake import Incoming
from orchestrator.handlers import Orchestrator
from orchestrator.journal import Journal
from orchestrator.queries import QueryHandler, QueueGauge
from orchestrator.reconciler import Reconciler
from orchestrator.waiting_jobs import WaitingJobs
from shared.contracts.bundles import Told, count_told, telling
from shared.contracts.commands import read_command, read_job
from shared.contracts.errors import UnavailableError
from shared.contracts.events import read_result
from shared.database import Database, connect_database
from shared.messaging.batches import BatchConsumer, Linger
from shared.messaging.connection import connect
from shared.messaging.publisher import open_publisher
from shared.messaging.queries import answering
from shared.messaging.told import handling_told
from shared.service import Check, Service, health_app, run
from shared.settings import Settings
from shared.telemetry.metrics import new_registry
from shared.topology import COMMANDS_QUEUE, DEAD_JOBS_QUEUE, RESULTS_QUEUE, WHY_QUEUE

NAME = "orchestrator"
JOURNAL_GRACE = timedelta(hours=24)
RUN_GRACE = timedelta(days=90)  # how long ids and trigger ids of runs that ended are known
PRUNE_SECONDS = 600.0
LINGER_SECONDS = 0.05
SHARE_OF_IN_FLIGHT = 1 / 16

log = get_logger(__name__)


@asynccontextmanager
async def create_service(settings: Settings) -> AsyncGenerator[Service]:
    """Yield the running orchestrator; on leaving, the batch in hand is finished."""
    amqp_url, patience, registry = settings.require("amqp_url"), settings.startup_timeout, new_registry(NAME)
    async with (
        connect_database(settings.require("database_url"), name=NAME, patience=patience, schema=NAME) as database,
        open_publisher(amqp_url, app_id=NAME, patience=patience, registry=registry) as publisher,
        connect(amqp_url, name=f"{NAME} consumer", patience=patience) as connection,
    ):
        journal, admission = Journal(database), Admission(database)
        alarm, gauge = Alarm(publisher), QueueGauge(connection)
        waiting_jobs = WaitingJobs(publisher)
        reconciler = Reconciler(
            journal, admission, publisher, alarm, waiting_jobs=waiting_jobs, depth=gauge.depth, registry=registry
        )
        orchestrator = Orchestrator(journal, admission, publisher, alarm, waiting_jobs, registry=registry)
        answers = QueryHandler(journal, admission, gauge).handle
        async with (
            _consumer(await connection.channel(), orchestrator, _linger(journal), registry) as consumer,
            answering(WHY_QUEUE, answers, settings, app_id=NAME),
        ):
            checks = [Check("database", database.answers), Check("consumer", consumer.is_alive)]
            background = (
                consumer.failure,
                alarm.ring,
                reconciler.run,
                lambda: _prune_forever(journal, database, settings),
            )
            yield Service(health_app(checks, registry), background=background)
        waiting_jobs.tell()


def _consumer(
    channel: AbstractChannel, orchestrator: Orchestrator, linger: Linger, registry: CollectorRegistry
) -> BatchConsumer[Told[Incoming]]:
    read: Mapping[str, Callable[[bytes], Incoming]]
    read = {COMMANDS_QUEUE: read_command, RESULTS_QUEUE: read_result, DEAD_JOBS_QUEUE: read_job}
    readers = {queue: telling(reader) for queue, reader in read.items()}
    handle = handling_told(orchestrator.handle)
    return BatchConsumer[Told[Incoming]](
        channel, readers, handle, name=NAME, is_source=True, linger=linger, registry=registry
    )


def _linger(journal: Journal) -> Linger:
    """Have a batch wait until it has a small share of what is in flight: with the rest workers have enough to do.

    A batch of one costs nearly as much as one of ten. Where little is in flight, the share is less than one result.
    """
    return Linger(LINGER_SECONDS, enough=lambda: round(journal.in_flight * SHARE_OF_IN_FLIGHT), size=count_told)


async def _prune_forever(journal: Journal, database: Database, settings: Settings) -> None:
    max_age, max_bytes = timedelta(days=settings.cache_max_days), settings.cache_max_bytes
    while True:
        await _if_possible(journal.prune(JOURNAL_GRACE, RUN_GRACE))
        await _if_possible(cache.evict(database, max_age=max_age, max_bytes=max_bytes))
        await asyncio.sleep(PRUNE_SECONDS)


async def _if_possible(pruning: Awaitable[None]) -> None:
    try:
        await pruning
    except UnavailableError as err:
        log.warning("not pruned, will be later", reason=str(err))


def main() -> None:
    """Run the orchestrator."""
    run(NAME, create_service)
