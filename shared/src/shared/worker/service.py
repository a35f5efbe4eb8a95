"""The process of a worker: how it begins and ends."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

from shared.contracts.node_types import REGISTRY
from shared.messaging.consumer_watch import Consumer, ConsumerWatch
from shared.messaging.publisher import open_publisher
from shared.service import Check, Service, health_app, new_registry
from shared.settings import Settings
from shared.topology import worker_address
from shared.worker.jobs import JobRunner
from shared.worker.outcomes import Body
from shared.worker.slots import Slots
from shared.worker.subscriptions import Subscriptions


@asynccontextmanager
async def worker_service(
    settings: Settings,
    node_type: str,
    body: Body,
    *,
    concurrency: int,
    watch: Callable[[Sequence[Consumer]], ConsumerWatch] = ConsumerWatch,
) -> AsyncGenerator[Service]:
    """Yield the service that executes the jobs of a node type, `concurrency` of them at a time.

    On leaving, no new job is begun and those under way are finished, for `settings.shutdown_timeout` seconds.
    """
    url = settings.require("amqp_url")
    registry = new_registry()
    async with open_publisher(
        url, app_id=f"{node_type}_worker", patience=settings.startup_timeout, address=worker_address
    ) as publisher:
        runner = JobRunner(body, publisher, Slots(concurrency), registry)
        subscriptions = Subscriptions(url, REGISTRY[node_type], runner, concurrency=concurrency)
        try:
            consumers = watch([(queue, None) for queue in await subscriptions.start()])
            checks = [Check("broker", subscriptions.is_connected), Check("consumers", consumers.passes)]
            yield Service(health_app(checks, registry), background=[consumers.run])
        finally:
            await subscriptions.stop()
            await runner.stop(settings.shutdown_timeout)
            await subscriptions.close()
