"""The process of a worker: how it begins and ends."""

import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

from aio_pika.abc import AbstractQueue, AbstractRobustChannel, AbstractRobustConnection
from prometheus_client import CollectorRegistry

from shared.assets import AssetStore
from shared.contracts.node_type import NodeType
from shared.messaging.connection import connect
from shared.messaging.consumer_watch import Consumer, ConsumerWatch, count_lost
from shared.messaging.publisher import open_publisher
from shared.messaging.requests import Requests
from shared.service import Check, Service, health_app, run
from shared.settings import Settings
from shared.telemetry.metrics import new_registry
from shared.topology import worker_address
from shared.worker.admission import Admission
from shared.worker.backlog import Backlog
from shared.worker.functions import Function, as_body
from shared.worker.jobs import JobRunner
from shared.worker.slots import Slots
from shared.worker.subscriptions import Subscriptions


def run_worker(node_type: NodeType, function: Function, *, concurrency: int | None = None) -> None:
    """Be the process of a worker that needs nothing but its function; by default a job for each core at a time."""
    at_a_time = concurrency or os.cpu_count() or 1
    run(f"{node_type.name}_worker", lambda settings: worker_service(settings, node_type, function, at_a_time))


@asynccontextmanager
async def worker_service(
    settings: Settings,
    node_type: NodeType,
    function: Function,
    concurrency: int,
    *,
    checks: Sequence[Check] = (),
    admission: Admission | None = None,
    registry: CollectorRegistry | None = None,
    watch: Callable[[Sequence[Consumer]], ConsumerWatch] = ConsumerWatch,
) -> AsyncGenerator[Service]:
    """Yield the service that executes the jobs of a node type, `concurrency` of them at a time.

    On leaving, no new job is begun and those under way are finished, for `settings.shutdown_timeout` seconds.
    `checks` are what the function needs to be ready, besides broker and asset store; `admission` says which jobs may
    be begun, and which wait in their queues; `registry` holds metrics of the function's own.
    """
    url = settings.require("amqp_url")
    assets = AssetStore.from_url(settings.require("assets_url"))
    await assets.check()
    name, patience = f"{node_type.name}_worker", settings.startup_timeout
    registry = registry or new_registry(name)
    async with (
        open_publisher(url, app_id=name, patience=patience, address=worker_address, registry=registry) as publisher,
        connect(url, name=f"{name} queries", patience=patience) as querying,
        connect(url, name=name, patience=patience) as consuming,
    ):
        backlog = Backlog(querying, await _requests(querying, name))
        body = as_body(node_type, function, assets, publisher.publish_transient)
        runner = JobRunner(
            body, publisher, Slots(concurrency), registry, admission=admission, is_wanted=backlog.is_wanted
        )
        subscriptions = Subscriptions(consuming, node_type, runner, concurrency=concurrency)
        async with _consuming(subscriptions, runner, backlog, settings.shutdown_timeout) as queues:
            consumers = watch([(queue, None) for queue in queues])
            count_lost(consumers, registry)
            all_checks = [Check("broker", subscriptions.is_connected), Check("consumers", consumers.passes), *checks]
            yield Service(health_app(all_checks, registry), background=[consumers.run])


@asynccontextmanager
async def _consuming(
    subscriptions: Subscriptions, runner: JobRunner, backlog: Backlog, patience: float
) -> AsyncGenerator[Sequence[AbstractQueue]]:
    """Yield the queues that are consumed; on leaving, what is under way may still be acknowledged."""
    try:
        yield await subscriptions.start(backlog)
    finally:
        await subscriptions.stop()
        await runner.stop(patience)


async def _requests(connection: AbstractRobustConnection, asker: str) -> Requests:
    channel = await connection.channel(on_return_raises=True)
    assert isinstance(channel, AbstractRobustChannel)
    return await Requests.start(channel, asker=asker)
