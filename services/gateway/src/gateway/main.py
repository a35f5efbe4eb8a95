"""The gateway's process: its connections, its HTTP application, its health."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from aio_pika.abc import AbstractRobustChannel, AbstractRobustConnection
from aio_pika.exceptions import AMQPError
from prometheus_client import CollectorRegistry, Gauge
from pydantic import SecretStr

from gateway import renditions
from gateway.acceptances import Acceptances
from gateway.allocator import return_large_blocks
from gateway.api_keys import ApiKeys
from gateway.app import create_app
from gateway.authentication import Gate
from gateway.batches import Batches
from gateway.costs_client import CostsClient
from gateway.dead_letters import DeadLetters
from gateway.dependencies import Dependencies
from gateway.event_log import MAX_EVENTS
from gateway.explanations import Explanations
from gateway.history import History
from gateway.links import Links
from gateway.live import LiveEvents
from gateway.orchestrator_client import OrchestratorClient
from gateway.pictures import Pictures
from gateway.plans import Plans
from gateway.queues import Queues
from gateway.reading_locks import ReadingLock
from gateway.replays import Replays
from gateway.request_rates import RequestRates
from gateway.request_telemetry import RequestMetrics
from gateway.run_limits import RunLimits
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
from shared.messaging.connection import brief_channel, connect
from shared.messaging.levels import LevelReader
from shared.messaging.live import EventFeed, StreamedEvent
from shared.messaging.management import open_management
from shared.messaging.publisher import Publisher, open_publisher
from shared.messaging.requests import Requests
from shared.service import Check, Service, health_routes, run
from shared.settings import Settings, strong_secret
from shared.telemetry.metrics import new_registry

NAME = "gateway"
CHECK_SECONDS = 3.0
HISTORY = MAX_EVENTS  # of the past, read at start: what clients that come back may have missed
CONCURRENT_DECODINGS = 2  # of uploaded pictures, and of those that are shown smaller


@dataclass(frozen=True, slots=True)
class _Broker:
    """What there is of the broker; `connection` is for what is read."""

    url: str
    connection: AbstractRobustConnection
    publisher: Publisher
    requests: Requests
    levels: LevelReader


@asynccontextmanager
async def create_service(settings: Settings) -> AsyncGenerator[Service]:
    """Yield the running gateway; raise UnavailableError if the database, the broker or the assets are not there."""
    secrets, registry = _url_secrets(settings), new_registry(NAME)
    assets = AssetStore.from_url(settings.require("assets_url"))
    await assets.check()
    async with (
        connect_database(
            settings.require("database_url"), name=NAME, patience=settings.startup_timeout, schema=NAME
        ) as database,
        _open_broker(settings, registry) as broker,
        _decoder_pool(settings) as pool,
    ):
        dependencies = _dependencies(database, broker, (Uploads(assets, pool), Pictures(assets, pool)), secrets)
        if settings.api_key is not None:
            await dependencies.keys.set_initial(strong_secret(settings.api_key, "WEFT_API_KEY"))
        feed, live = await _open_feed(broker.connection, dependencies), dependencies.live
        feed.count_lost(registry)
        Gauge("weft_watchers", "Clients that watch a run", registry=registry).set_function(live.watchers)
        health = health_routes(_checks(database, broker, assets), registry)
        app = create_app(dependencies, health, cors_origins=_origins(settings), metrics=RequestMetrics(registry))
        yield Service(app, background=(*_upkeep(dependencies), feed.run), on_stop=live.close)


@asynccontextmanager
async def _open_broker(settings: Settings, registry: CollectorRegistry) -> AsyncGenerator[_Broker]:
    url, patience = settings.require("amqp_url"), settings.startup_timeout
    async with (
        open_publisher(url, app_id=NAME, patience=patience, registry=registry) as publisher,
        connect(url, name=f"{NAME} live", patience=patience) as connection,
        _level_reader(settings) as levels,
    ):
        await _check_topology(connection)
        requests = await Requests.start(await _channel(connection), asker=NAME)
        yield _Broker(url, connection, publisher, requests, levels)


def _checks(database: Database, broker: _Broker, assets: AssetStore) -> Sequence[Check]:
    return (
        Check("database", database.answers),
        Check("broker", lambda: _broker_answers(broker.connection)),
        Check("assets", lambda: _assets_answer(assets)),
    )


def _dependencies(
    database: Database, broker: _Broker, pictures: tuple[Uploads, Pictures], secrets: Sequence[str]
) -> Dependencies:
    requests = broker.requests
    workflows, tracker, keys = Workflows(database), TrackerClient(requests), ApiKeys(database)
    acceptances, limits = Acceptances(database), RunLimits(database, tracker)
    runs = Runs(broker.publisher, tracker, acceptances)
    plans, started = Plans(workflows, runs, tracker), StartedRuns(database)
    starts = Starts(started, runs, limits)
    replays = Replays(broker.publisher, tracker, plans, starts)
    return Dependencies(
        gate=Gate(keys, RequestRates(database)),
        keys=keys,
        workflows=workflows,
        plans=plans,
        starts=starts,
        batches=Batches(plans, started, runs, limits),
        runs=runs,
        acceptances=acceptances,
        explanations=Explanations(OrchestratorClient(requests), runs),
        history=History(tracker),
        live=LiveEvents(),
        uploads=pictures[0],
        pictures=pictures[1],
        links=Links(secrets),
        costs=CostsClient(requests),
        queues=Queues(broker.levels, tracker),
        dead_letters=DeadLetters(broker.url, ReadingLock(database), tracker, replays),
    )


def _decoder_pool(settings: Settings) -> AbstractAsyncContextManager[DecoderPool]:
    limits = Limits(settings.decode_memory_bytes, settings.decode_cpu_seconds)
    return DecoderPool.open(CONCURRENT_DECODINGS, limits, preload=[renditions.__name__])


@asynccontextmanager
async def _level_reader(settings: Settings) -> AsyncGenerator[LevelReader]:
    amqp_url = settings.require("amqp_url")
    if settings.management_url is None:
        yield LevelReader(amqp_url)
        return
    async with open_management(settings.management_url, amqp_url) as management:
        yield LevelReader(amqp_url, management)


async def _open_feed(connection: AbstractRobustConnection, dependencies: Dependencies) -> EventFeed:
    live, acceptances, queues = dependencies.live, dependencies.acceptances, dependencies.queues

    def hear(told: StreamedEvent) -> None:
        live.receive(told)
        acceptances.hear(told)
        queues.hear(told)

    return await EventFeed.open(connection, hear, live.mark_gap, history=HISTORY)


def _upkeep(dependencies: Dependencies) -> Sequence[Callable[[], Awaitable[None]]]:
    acceptances = dependencies.acceptances
    return dependencies.starts.keep_pruned, acceptances.keep_refusals, acceptances.keep_pruned


async def _channel(connection: AbstractRobustConnection) -> AbstractRobustChannel:
    channel = await connection.channel(on_return_raises=True)
    assert isinstance(channel, AbstractRobustChannel)
    return channel


async def _check_topology(connection: AbstractRobustConnection) -> None:
    """Look for the queues that are published to, on a channel of its own: a missing one closes it."""
    async with brief_channel(connection) as channel:
        for queue in (topology.COMMANDS_QUEUE, *topology.QUERY_QUEUES):
            await topology.look_at_queue(channel, queue)


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


def _url_secrets(settings: Settings) -> list[str]:
    """Return what links are signed with; raise `setting_missing`, or `weak_secret` for one that can be guessed."""
    secrets = settings.require_secret("url_secrets").split(",")
    return [strong_secret(SecretStr(secret.strip()), "WEFT_URL_SECRETS") for secret in secrets]


def _origins(settings: Settings) -> list[str]:
    return [origin.strip() for origin in settings.cors_origins.split(",") if origin.strip()]


def main() -> None:
    """Run the gateway."""
    return_large_blocks()
    run(NAME, create_service)
