"""The worker kit: a job comes in, a pure function does it, its outcome goes out; then the job is acknowledged.

A worker holds no workflow knowledge. What a job's function returns is one of a closed union of outcomes; the kit
turns it into the result event. A job is acknowledged after its result is safe, so a worker that dies loses
nothing: the broker gives the job to another.
"""

import asyncio
import os
import socket
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from faststream import AckPolicy
from faststream.rabbit import Channel, RabbitBroker, RabbitMessage, RabbitQueue
from prometheus_client import CollectorRegistry, Histogram
from pydantic import ValidationError
from structlog import get_logger

from shared.contracts.errors import InvalidInputError, Problem, UnavailableError
from shared.contracts.messages import NodeExecute, NodeFailed, NodeStarted, NodeSucceeded, Usage, read_job
from shared.contracts.node_types import REGISTRY
from shared.contracts.values import Value
from shared.messaging.batches import FIRST_PAUSE, LAST_PAUSE
from shared.messaging.bodies import raw_body
from shared.messaging.connection import RECONNECT_SECONDS
from shared.messaging.publisher import Publisher, open_publisher
from shared.service import Check, Service, health_app, new_registry
from shared.settings import Settings

REMEMBERED_JOBS = 1_000

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The node has its output."""

    output: Value
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Retryable:
    """This attempt failed, another may not; not before `retry_after` seconds, where the cause names a time."""

    problem: Problem
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Permanent:
    """The node failed, and would fail again."""

    problem: Problem


Outcome = Succeeded | Retryable | Permanent
Body = Callable[[NodeExecute], Awaitable[Outcome]]


class JobRunner:
    """Takes a job from its delivery to its acknowledgement.

    A job that is delivered again is not done again: its result is published once more, or, while it is still under
    way, waited for. That holds for the last `REMEMBERED_JOBS` jobs of this process.
    """

    def __init__(self, body: Body, publisher: Publisher, registry: CollectorRegistry) -> None:
        self._body = body
        self._publisher = publisher
        self._results: OrderedDict[str, asyncio.Task[NodeSucceeded | NodeFailed]] = OrderedDict()
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._seconds = Histogram(
            "weft_job_seconds", "Time that the body of a job took", ["node_type", "outcome"], registry=registry
        )

    async def handle(self, delivery: RabbitMessage) -> None:
        """Decode, do, publish, acknowledge; what cannot be decoded is dead-lettered."""
        try:
            job = read_job(delivery.body)
        except ValidationError as err:
            log.error("dead-lettered", message_id=delivery.message_id, problems=err.error_count())  # noqa: TRY400 - the input must not be logged
            return await delivery.reject(requeue=False)
        await self._publish_patiently(await self._execute_once(job))
        return await delivery.ack()

    async def _publish_patiently(self, result: NodeSucceeded | NodeFailed) -> None:
        # Kept while the broker is in need: a job that went back would count as one that killed its worker.
        pause = FIRST_PAUSE
        while True:
            try:
                return await self._publisher.publish(result)
            except UnavailableError as err:
                log.warning("result waits", message_id=result.message_id, reason=str(err), pause=pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LAST_PAUSE)

    async def _execute_once(self, job: NodeExecute) -> NodeSucceeded | NodeFailed:
        result = self._results.get(job.message_id)
        if result is None:
            result = self._results[job.message_id] = asyncio.create_task(self._execute(job))
            self._forget_oldest()
        # Shielded: who waits for a repetition must not cancel the job for the others.
        return await asyncio.shield(result)

    def _forget_oldest(self) -> None:
        while len(self._results) > REMEMBERED_JOBS and next(iter(self._results.values())).done():
            self._results.popitem(last=False)

    async def _execute(self, job: NodeExecute) -> NodeSucceeded | NodeFailed:
        self._publisher.publish_unawaited(
            NodeStarted(
                **job.about,
                at=datetime.now(UTC),
                worker=self._name,
            )
        )
        started = time.perf_counter()
        outcome = await self._outcome(job)
        seconds = time.perf_counter() - started
        self._seconds.labels(job.node_type, type(outcome).__name__).observe(seconds)
        return result_event(job, outcome, at=datetime.now(UTC), seconds=seconds)

    async def _outcome(self, job: NodeExecute) -> Outcome:
        try:
            return await self._body(job)
        except InvalidInputError as err:
            return Permanent(err.problems[0])
        except UnavailableError as err:
            return Retryable(err.problems[0])
        except Exception as err:
            log.exception("the body of a job raised", message_id=job.message_id)
            return Permanent(
                Problem(
                    code="internal_error",
                    message=f"the {job.node_type} worker met a defect: {type(err).__name__}",
                    node_id=job.node_id,
                    fix="look at the worker's log",
                )
            )


def result_event(job: NodeExecute, outcome: Outcome, *, at: datetime, seconds: float) -> NodeSucceeded | NodeFailed:
    """Return the event that tells a job's outcome."""
    match outcome:
        case Succeeded(output, usage):
            return NodeSucceeded(
                **job.about,
                at=at,
                seconds=seconds,
                output=output,
                usage=usage,
            )
        case Retryable(problem) | Permanent(problem):
            return NodeFailed(
                **job.about,
                at=at,
                seconds=seconds,
                error=problem.model_copy(update={"node_id": job.node_id}),
                retryable=isinstance(outcome, Retryable) and not job.last_attempt,
                retry_after=outcome.retry_after if isinstance(outcome, Retryable) else None,
            )


def _subscribed_broker(url: str, queue: str, runner: JobRunner, settings: Settings, concurrency: int) -> RabbitBroker:
    broker = RabbitBroker(
        url,
        graceful_timeout=settings.shutdown_timeout,
        reconnect_interval=RECONNECT_SECONDS,
        logger=None,
    )
    subscriber = broker.subscriber(
        RabbitQueue(queue, declare=False),
        channel=Channel(prefetch_count=concurrency),
        ack_policy=AckPolicy.MANUAL,
        decoder=raw_body,
        no_reply=True,
    )
    subscriber(runner.handle)
    return broker


@asynccontextmanager
async def worker_service(
    settings: Settings, node_type: str, body: Body, *, concurrency: int
) -> AsyncGenerator[Service]:
    """Yield the service that executes the jobs of a node type, `concurrency` of them at a time.

    On leaving, no new job is taken and those in hand are finished, for `settings.shutdown_timeout` seconds.
    """
    queue = REGISTRY[node_type].queue
    assert queue, f"{node_type} is executed by the orchestrator"
    url = settings.require("amqp_url")
    registry = new_registry()
    app_id = f"{node_type}_worker"
    async with open_publisher(url, app_id=app_id, patience=settings.startup_timeout) as publisher:
        await publisher.check_queue(queue)
        broker = _subscribed_broker(url, queue, JobRunner(body, publisher, registry), settings, concurrency)
        await broker.start()
        try:
            yield Service(health_app([Check("broker", lambda: broker.ping(timeout=3))], registry))
        finally:
            await broker.stop()
