"""The gateway's process: its connections, its HTTP application, its health."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from uuid import UUID

from aio_pika.abc import AbstractRobustChannel, AbstractRobustConnection
from aio_pika.exceptions import AMQPError
from prometheus_client import CollectorRegistry, Gauge

from gateway.app import create_app
from gateway.costs_client import CostsClient
from gateway.dependencies import Dependencies
from gateway.explanations import Explanations
from gateway.live import LiveEvents
from gateway.orchestrator_client import OrchestratorClient
from gateway.plans import Plans
from gateway.runs import Runs
from gateway.started_runs import StartedRuns
from gateway.starts import Starts
from gateway.tracker_client import TrackerClient
from gateway.uploads import Uploads
from gateway.workflows import Workflows
from shared import topology
from shared.assets import AssetStore
from shared.contracts.errors import UnavailableError
from shared.database import Database, connect_database
from shared.decoding import DecoderPool, Limits
from shared.messaging.connection import connect
from shared.messaging.live import listen_to_events
from shared.messaging.publisher import Publisher, open_publisher
from shared.messaging.requests import Requests
from shared.service import Check, Service, health_routes, new_registry, run
from shared.settings import Settings

NAME = "gateway"
CHECK_SECONDS = 3.0
CONCURRENT_INSPECTIONS = 2  # of uploaded pictures


@asynccontextmanager
async def create_service(settings: Settings) -> AsyncGenerator[Service]:
    """Yield the running gateway; raise UnavailableError if the database, the broker or the assets are not there."""
    amqp_url, patience = settings.require("amqp_url"), settings.startup_timeout
    assets = AssetStore.from_url(settings.require("assets_url"))
    await assets.check()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            connect_database(settings.require("database_url"), name=NAME, patience=patience, schema=NAME)
        )
        publisher = await stack.enter_async_context(open_publisher(amqp_url, app_id=NAME, patience=patience))
        connection = await stack.enter_async_context(connect(amqp_url, name=f"{NAME} live", patience=patience))
        await _check_topology(connection)
        requests = await Requests.start(await _channel(connection), asker=NAME)
        pool = await stack.enter_async_context(_decoder_pool(settings))
        dependencies = _dependencies(database, publisher, requests, Uploads(assets, pool))
        live, runs = dependencies.live, dependencies.runs

        def receive(run_id: UUID, body: bytes) -> None:
            runs.hear(run_id, body)
            live.receive(run_id, body)

        await listen_to_events(await _channel(connection), listener=NAME, receive=receive, on_gap=live.mark_gap)
        checks = [
            Check("database", database.answers),
            Check("broker", lambda: _broker_answers(connection)),
            Check("assets", lambda: _assets_answer(assets)),
        ]
        app = create_app(dependencies, health_routes(checks, _registry(live)))
        yield Service(app, background=(dependencies.starts.keep_pruned,), on_stop=live.close)


def _dependencies(database: Database, publisher: Publisher, requests: Requests, uploads: Uploads) -> Dependencies:
    workflows, tracker = Workflows(database), TrackerClient(requests)
    runs = Runs(publisher, tracker)
    return Dependencies(
        workflows=workflows,
        plans=Plans(workflows, runs, tracker),
        starts=Starts(StartedRuns(database), runs),
        runs=runs,
        explanations=Explanations(OrchestratorClient(requests), runs),
        live=LiveEvents(),
        uploads=uploads,
        costs=CostsClient(requests),
    )


def _decoder_pool(settings: Settings) -> AbstractAsyncContextManager[DecoderPool]:
    limits = Limits(settings.decode_memory_bytes, settings.decode_cpu_seconds)
    return DecoderPool.open(CONCURRENT_INSPECTIONS, limits)


async def _channel(connection: AbstractRobustConnection) -> AbstractRobustChannel:
    channel = await connection.channel(on_return_raises=True)
    assert isinstance(channel, AbstractRobustChannel)
    return channel


async def _check_topology(connection: AbstractRobustConnection) -> None:
    """Look for the queues that are published to, on a channel of its own: a missing one closes it."""
    async with connection.channel() as channel:
        for queue in (topology.COMMANDS_QUEUE, *topology.QUERY_QUEUES):
            await topology.check_queue(channel, queue)


async def _broker_answers(connection: AbstractRobustConnection) -> bool:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await _check_topology(connection)
    except (UnavailableError, AMQPError, OSError, RuntimeError):  # TimeoutError is an OSError
        return False
    return True


async def _assets_answer(assets: AssetStore) -> bool:
    try:
        await assets.check()
    except UnavailableError:
        return False
    return True


def _registry(live: LiveEvents) -> CollectorRegistry:
    registry = new_registry()
    watchers = Gauge("weft_watchers", "Clients that watch a run", registry=registry)
    watchers.set_function(live.watchers)
    return registry


def main() -> None:
    """Run the gateway."""
    run(NAME, create_service)
