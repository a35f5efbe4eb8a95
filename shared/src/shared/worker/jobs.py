"""From the delivery of a job to its acknowledgement."""

import asyncio
import os
import socket
import time
from collections import OrderedDict
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from opentelemetry import trace
from prometheus_client import CollectorRegistry
from pydantic import ValidationError
from structlog import get_logger

from shared.contracts.commands import NodeAbandon, NodeExecute, read_job
from shared.contracts.envelope import NodeMessage
from shared.contracts.errors import InvalidInputError, UnavailableError
from shared.contracts.events import NodeSucceeded
from shared.contracts.run_options import Lane
from shared.messaging.batches import FIRST_PAUSE, LAST_PAUSE
from shared.messaging.publisher import BundlePublisher
from shared.telemetry.messages import work_on
from shared.telemetry.tracing import mark_failed
from shared.worker.admission import Admission, AdmitAll, Release
from shared.worker.backlog import IsWanted
from shared.worker.metrics import JobMetrics
from shared.worker.outcomes import (
    Body,
    Execution,
    Outcome,
    Permanent,
    Result,
    Retryable,
    Succeeded,
    met_defect,
    result_event,
    timed_out,
    unpublishable,
)
from shared.worker.results import Results
from shared.worker.slots import Slots, SlotsClosedError
from shared.worker.under_way import UnderWay

REMEMBERED_JOBS = 1_000
REMEMBERED_ABANDONED = 10_000

Attempt = tuple[UUID, str, int]

log = get_logger(__name__)


class Delivery(Protocol):
    """A job as the broker delivers it."""

    @property
    def body(self) -> bytes:
        """The job, as JSON."""
        ...

    @property
    def message_id(self) -> str | None:
        """The job's own id, for the log."""
        ...

    def ack(self) -> Awaitable[None]:
        """Let the broker forget the job."""
        ...

    def reject(self) -> Awaitable[None]:
        """Have the job dead-lettered."""
        ...


class JobRunner:
    """Takes jobs from their deliveries to their acknowledgements, as many at a time as there are slots.

    A job that is delivered again is not done again: its result is published once more, or, while it is still under
    way, waited for. That holds for the last `REMEMBERED_JOBS` jobs of this process. Of an abandoned attempt no result
    is published, and no body is begun once the abandonment is known; the last `REMEMBERED_ABANDONED` are.
    """

    def __init__(
        self,
        body: Body,
        publisher: BundlePublisher,
        slots: Slots,
        registry: CollectorRegistry,
        *,
        admission: Admission | None = None,
        is_wanted: IsWanted | None = None,
    ) -> None:
        self._body = body
        self._publisher = publisher
        self._results = Results(publisher)
        self._slots = slots
        self._admission = admission or AdmitAll()
        self._is_wanted = is_wanted
        self._work: OrderedDict[Attempt, asyncio.Task[Result | NodeExecute]] = OrderedDict()
        self._abandoned: OrderedDict[Attempt, None] = OrderedDict()
        self._handling: set[asyncio.Task[None]] = set()
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._under_way = UnderWay(publisher, self._name)
        self._metrics = JobMetrics(registry)

    def receive(self, delivery: Delivery, lane: Lane, sent_at: datetime | None = None) -> asyncio.Task[None]:
        """Take charge of a job of a lane; the task ends when it is settled."""
        handling = asyncio.create_task(self._handle(delivery, lane, sent_at))
        self._handling.add(handling)
        handling.add_done_callback(self._handling.discard)
        return handling

    def abandon(self, command: NodeAbandon) -> None:
        """Stop an attempt; one that is not known yet will not be begun. One that has ended is told all the same."""
        attempt = _attempt(command)
        self._forget_about(attempt)
        if (work := self._work.pop(attempt, None)) and work.cancel():
            self._metrics.abandoned(command.node_type)

    async def stop(self, patience: float) -> None:
        """Begin no more jobs: those that wait for a slot go back to their queues, those under way are finished.

        What has not ended after `patience` seconds is cancelled, and not acknowledged.
        """
        self._slots.close()
        self._admission.close()
        if self._handling:
            await asyncio.wait(self._handling, timeout=patience)
        unfinished = {*self._handling, *(work for work in self._work.values() if not work.done())}
        for task in unfinished:
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished)

    async def _handle(self, delivery: Delivery, lane: Lane, sent_at: datetime | None) -> None:
        """Decode, do, publish, acknowledge; what cannot be is dead-lettered."""
        try:
            job = read_job(delivery.body)
            work_on(job)
            with self._metrics.in_hand(job.node_type).track_inprogress():
                await self._do_and_tell(job, lane, sent_at)
        except ValidationError as err:
            log.error("dead-lettered", message_id=delivery.message_id, problems=err.error_count())  # noqa: TRY400 - the input must not be logged
            return await delivery.reject()
        except Exception:
            log.exception("dead-lettered", message_id=delivery.message_id)
            return await delivery.reject()
        return await delivery.ack()

    async def _do_and_tell(self, job: NodeExecute, lane: Lane, sent_at: datetime | None) -> None:
        if self._is_wanted and not await self._is_wanted(job, sent_at):
            self._forget_about(_attempt(job))
        if reply := await self._do_once(job, lane, sent_at):
            await self._publish_patiently(reply)

    def _forget_about(self, attempt: Attempt) -> None:
        """Have an attempt not begun, and no result of it told; the last `REMEMBERED_ABANDONED` are."""
        self._abandoned[attempt] = None
        if len(self._abandoned) > REMEMBERED_ABANDONED:
            self._abandoned.popitem(last=False)

    async def _do_once(self, job: NodeExecute, lane: Lane, sent_at: datetime | None) -> Result | NodeExecute | None:
        """Return what must be published before the job is acknowledged; None if its attempt was abandoned."""
        attempt = _attempt(job)
        if attempt in self._abandoned:
            return None
        work = self._work.get(attempt)
        if work is None:
            work = self._work[attempt] = asyncio.create_task(self._do(job, lane, sent_at))
            self._forget_oldest()
        # Not awaited itself: who waits for a repetition must not be able to cancel the job for the others.
        await asyncio.wait([work])
        return None if work.cancelled() else work.result()

    def _forget_oldest(self) -> None:
        if len(self._work) > REMEMBERED_JOBS:
            oldest = next((attempt for attempt, work in self._work.items() if work.done()), None)
            if oldest:
                del self._work[oldest]

    async def _do(self, job: NodeExecute, lane: Lane, sent_at: datetime | None) -> Result | NodeExecute:
        try:
            await self._slots.acquire(lane)
        except SlotsClosedError:
            return self._back(job, lane)
        release = await self._admitted(job, lane)
        if release is None:
            return self._back(job, lane)
        self._metrics.begun(job.node_type, sent_at)
        body = asyncio.create_task(self._run_body(job))
        # The slot is free when the body has really ended: the thread of a crop cannot be stopped, and would else run
        # beside that of the next job. The job itself is over at once, by its timeout or because it was abandoned, and
        # is acknowledged: nobody wants it to come again, whatever its thread does to this process.
        body.add_done_callback(lambda _: release())
        try:
            return await self._follow(job, body)
        finally:
            body.cancel()

    async def _admitted(self, job: NodeExecute, lane: Lane) -> Release | None:
        """Return how to release all that the job has got; None, and it has got nothing, if it may not begin."""
        release: Release | None = None
        try:
            release = await self._admission.admit(job)
        finally:
            if release is None:
                self._slots.release(lane)
        if release is None:
            return None
        admitted = release

        def release_all() -> None:
            admitted()
            self._slots.release(lane)

        return release_all

    def _back(self, job: NodeExecute, lane: Lane) -> NodeExecute:
        """Return the job as it goes back to its queue: when it comes again, it is a new one.

        Published again, not returned: the broker counts a return like the death of a worker.
        """
        self._work.pop(_attempt(job), None)
        return job.model_copy(update={"lane": lane})

    async def _follow(self, job: NodeExecute, body: asyncio.Task[Outcome]) -> Result:
        begun, started = self._under_way.begin(job), time.perf_counter()
        try:
            ended, _ = await asyncio.wait([body], timeout=job.timeout)
        finally:
            begun.is_over = True
        outcome = _outcome_of(body, job) if ended else timed_out(job)
        seconds = time.perf_counter() - started
        self._metrics.ended(job.node_type, type(outcome).__name__, seconds)
        if not isinstance(outcome, Succeeded):
            mark_failed(trace.get_current_span(), outcome.problem.code)
        execution = Execution(worker=self._name, started_at=begun.at, at=datetime.now(UTC), seconds=seconds)
        return result_event(job, outcome, execution)

    async def _run_body(self, job: NodeExecute) -> Outcome:
        try:
            return await self._body(job)
        except InvalidInputError as err:
            return Permanent(err.problems[0])
        except UnavailableError as err:
            return Retryable(err.problems[0])
        except Exception as err:
            log.exception("the body of a job raised", message_id=job.message_id)
            return met_defect(job, type(err).__name__)

    async def _publish_patiently(self, reply: Result | NodeExecute) -> None:
        # Kept while the broker is in need: a job that went back would count as one that killed its worker.
        pause = FIRST_PAUSE
        while True:
            try:
                if isinstance(reply, NodeExecute):
                    return await self._publisher.publish(reply)
                return await self._results.publish(reply)
            except UnavailableError as err:
                log.warning("result waits", message_id=reply.message_id, reason=str(err), pause=pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LAST_PAUSE)
            except InvalidInputError as err:
                if not isinstance(reply, NodeSucceeded):
                    raise
                reply = unpublishable(reply, err.problems[0])


def _attempt(message: NodeMessage) -> Attempt:
    return message.run_id, message.node_id, message.attempt


def _outcome_of(body: asyncio.Task[Outcome], job: NodeExecute) -> Outcome:
    return met_defect(job, "cancelled by itself") if body.cancelled() else body.result()
