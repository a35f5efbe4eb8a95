"""What becomes of jobs between their delivery and their acknowledgement; broker and publisher are played here."""

import asyncio
import threading
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID, uuid4

import pytest
from prometheus_client import CollectorRegistry

from shared.contracts.bundles import Bundle, Publishable, telling
from shared.contracts.commands import NodeAbandon, NodeExecute
from shared.contracts.envelope import Message
from shared.contracts.errors import invalid, unavailable
from shared.contracts.events import NodeFailed, NodeLasting, NodeStarted, NodeSucceeded, Usage, read_event, read_result
from shared.contracts.run_options import Lane
from shared.contracts.values import TextValue
from shared.threads import run_in_thread
from shared.worker import Succeeded, jobs, under_way
from shared.worker.jobs import JobRunner
from shared.worker.slots import Slots

M = TypeVar("M", bound=Message)


class Delivery:
    """A job as the broker delivers it, and how it was settled."""

    def __init__(self, job: NodeExecute | bytes, journal: list[str]):
        self.body = job if isinstance(job, bytes) else job.to_json()
        self.message_id = "unreadable" if isinstance(job, bytes) else job.message_id
        self.settled: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._journal = journal

    async def ack(self):
        self._journal.append("acknowledged")
        self.settled.set_result("acknowledged")

    async def reject(self):
        self._journal.append("rejected")
        self.settled.set_result("rejected")


class Publisher:
    """Keeps what is published; fails as often as it is told to."""

    def __init__(self, journal: list[str]):
        self.messages: list[Message] = []
        self.failures = 0
        self.too_large: set[type[Message]] = set()
        self._journal = journal
        self._changed = asyncio.Event()

    async def publish(self, message: Publishable):
        if self.failures:
            self.failures -= 1
            raise unavailable("publish_failed", "away")
        if type(message) in self.too_large:
            raise invalid("message_too_large", "it is over the limit")
        self.publish_unawaited(message)
        self._journal.append(message.kind_name())

    async def publish_all(self, messages):
        for message in messages:
            for one in _unbundled(message, read_result):
                await self.publish(one)

    def publish_unawaited(self, message: Publishable):
        self.messages.extend(_unbundled(message, read_event))
        self._changed.set()
        self._changed = asyncio.Event()

    def of(self, kind: type[M]) -> list[M]:
        return [message for message in self.messages if isinstance(message, kind)]

    async def wait_for(self, kind, count=1):
        async with asyncio.timeout(10):
            while len(self.of(kind)) < count:
                await self._changed.wait()


def _unbundled(message: Publishable, read):
    return telling(read)(message.to_body()).messages if isinstance(message, Bundle) else [message]


class Worker:
    """A job runner whose bodies wait until they are told to end."""

    def __init__(self, concurrency=1, body=None, is_wanted=None):
        self.journal: list[str] = []
        self.publisher = Publisher(self.journal)
        self.begun: list[str] = []
        self.stopped: list[str] = []
        self.finish = asyncio.Event()
        self.registry = CollectorRegistry()
        self.runner = JobRunner(
            body or self._work, self.publisher, Slots(concurrency), self.registry, is_wanted=is_wanted
        )

    def deliver(self, job: NodeExecute | bytes, lane=Lane.NORMAL, sent_at=None) -> asyncio.Future[str]:
        delivery = Delivery(job, self.journal)
        self.runner.receive(delivery, lane, sent_at)
        return delivery.settled

    async def _work(self, job: NodeExecute):
        self.begun.append(job.node_id)
        try:
            await self.finish.wait()
        except asyncio.CancelledError:
            self.stopped.append(job.node_id)
            raise
        return Succeeded(TextValue(text=job.node_id))

    @property
    def results(self):
        return [*self.publisher.of(NodeSucceeded), *self.publisher.of(NodeFailed)]


def job(node_id="ask", attempt=1, timeout: float | None = None):
    return NodeExecute(run_id=UUID(int=1), node_id=node_id, node_type="llm", attempt=attempt, timeout=timeout)


def abandonment(of: NodeExecute):
    return NodeAbandon(**of.about)


async def within(awaitable):
    async with asyncio.timeout(10):
        return await awaitable


async def test_a_result_is_safe_before_its_job_is_acknowledged():
    worker = Worker()
    worker.publisher.failures = 2
    worker.finish.set()
    assert await within(worker.deliver(job())) == "acknowledged"
    assert worker.journal == ["node.succeeded", "acknowledged"]


async def test_a_job_of_ours_that_comes_again_as_a_suspect_after_a_lost_connection_is_waited_for():
    worker = Worker()
    first = worker.deliver(job())
    again = worker.deliver(job(), Lane.SUSPECT)
    worker.finish.set()
    assert [await within(delivery) for delivery in (first, again)] == ["acknowledged"] * 2
    assert worker.begun == ["ask"]


async def test_a_result_that_no_message_can_hold_fails_its_node_with_what_it_cost():
    usage = Usage(model="m", output_tokens=9)

    async def talk(_: NodeExecute):
        return Succeeded(TextValue(text="too much"), usage)

    worker = Worker(body=talk)
    worker.publisher.too_large = {NodeSucceeded}
    assert await within(worker.deliver(job())) == "acknowledged"
    (failure,) = worker.publisher.of(NodeFailed)
    assert (failure.error.code, failure.retryable, failure.usage) == ("message_too_large", False, usage)


async def test_a_job_that_cannot_be_read_is_rejected():
    worker = Worker()
    assert await within(worker.deliver(b"{")) == "rejected"
    assert worker.publisher.messages == []


async def test_a_result_that_no_broker_takes_lets_its_job_be_dead_lettered():
    worker = Worker()

    async def refuse(message):
        raise invalid("message_too_large", "too large")

    worker.publisher.publish = refuse
    worker.finish.set()
    assert await within(worker.deliver(job())) == "rejected"


async def test_a_body_that_takes_too_long_is_stopped_and_its_attempt_may_be_repeated():
    worker = Worker()
    assert await within(worker.deliver(job(timeout=0.01))) == "acknowledged"
    (failed,) = worker.results
    assert isinstance(failed, NodeFailed)
    assert (failed.error.code, failed.retryable) == ("node_timeout", True)
    assert worker.stopped == ["ask"]


async def test_the_timeout_counts_from_the_slot_on_and_not_from_the_delivery():
    worker = Worker(concurrency=1)
    first, second = job("first"), job("second", timeout=0.05)
    waiting = [worker.deliver(first), worker.deliver(second)]
    await worker.publisher.wait_for(NodeStarted)
    done, _ = await asyncio.wait(waiting, timeout=0.2)
    assert not done
    worker.finish.set()
    await within(asyncio.gather(*waiting))
    assert {type(result) for result in worker.results} == {NodeSucceeded}


async def test_a_job_that_lasts_is_told_of_once_and_a_quick_one_by_its_result_alone(monkeypatch):
    monkeypatch.setattr(under_way, "LASTING_SECONDS", 0.2)
    worker = Worker()
    settled = worker.deliver(job())
    await worker.publisher.wait_for(NodeLasting)
    worker.finish.set()
    await within(settled)
    await within(worker.deliver(job("quick")))
    (lasting,) = worker.publisher.of(NodeLasting)
    (started,) = worker.publisher.of(NodeStarted)
    assert lasting.started_at == started.at < lasting.at
    assert lasting.about == started.about == job().about
    lasted, quick = worker.results
    assert (lasted.started_at, lasted.worker) == (started.at, started.worker)
    assert quick.started_at is not None
    assert started.at < quick.started_at <= quick.at


async def test_a_body_that_cancels_itself_is_a_defect_and_no_abandonment():
    async def give_up(_):
        raise asyncio.CancelledError

    worker = Worker(body=give_up)
    await within(worker.deliver(job()))
    (failed,) = worker.results
    assert isinstance(failed, NodeFailed)
    assert failed.error.code == "internal_error"


async def test_a_job_under_way_that_is_abandoned_is_stopped_and_acknowledged_without_a_result():
    worker = Worker()
    settled = [worker.deliver(job()), worker.deliver(job())]
    await worker.publisher.wait_for(NodeStarted)
    worker.runner.abandon(abandonment(job()))
    assert await within(asyncio.gather(*settled)) == ["acknowledged"] * 2
    assert (worker.begun, worker.stopped, worker.results) == (["ask"], ["ask"], [])
    assert worker.registry.get_sample_value("weft_jobs_abandoned_total", {"node_type": "llm"}) == 1


async def test_a_job_that_waits_for_a_slot_and_is_abandoned_is_never_begun():
    worker = Worker(concurrency=1)
    first, second, third = (worker.deliver(job(name)) for name in ("first", "second", "third"))
    await worker.publisher.wait_for(NodeStarted)
    worker.runner.abandon(abandonment(job("second")))
    assert await within(second) == "acknowledged"
    worker.finish.set()
    await within(asyncio.gather(first, third))
    assert worker.begun == ["first", "third"]


async def test_a_job_that_comes_after_its_abandonment_is_acknowledged_and_not_begun():
    worker = Worker()
    worker.finish.set()
    worker.runner.abandon(abandonment(job()))
    assert [await within(worker.deliver(job())) for _ in range(2)] == ["acknowledged"] * 2
    assert (worker.begun, worker.publisher.messages) == ([], [])
    await within(worker.deliver(job(attempt=2)))
    assert worker.begun == ["ask"]


async def test_a_job_that_nobody_waits_for_any_more_is_acknowledged_and_not_begun():
    sent_at = datetime(2026, 1, 1, tzinfo=UTC)
    asked = []

    async def is_wanted(received, sent):
        asked.append((received, sent))
        return received.node_id != "cancelled"

    worker = Worker(is_wanted=is_wanted)
    worker.finish.set()
    cancelled, other = job("cancelled"), job("other")
    for received in (cancelled, other):
        assert await within(worker.deliver(received, sent_at=sent_at)) == "acknowledged"
    assert asked == [(cancelled, sent_at), (other, sent_at)]
    assert (worker.begun, [result.node_id for result in worker.results]) == (["other"], ["other"])


async def test_only_so_many_abandoned_attempts_are_remembered(monkeypatch):
    monkeypatch.setattr(jobs, "REMEMBERED_ABANDONED", 2)
    worker = Worker()
    worker.finish.set()
    for name in ("first", "second", "third"):
        worker.runner.abandon(abandonment(job(name)))
    for name in ("first", "second", "third"):
        await within(worker.deliver(job(name)))
    assert worker.begun == ["first"]


async def test_a_result_that_is_being_told_when_its_attempt_is_abandoned_is_told_since_it_may_have_cost_something():
    worker = Worker()
    worker.finish.set()
    telling, go_on = asyncio.Event(), asyncio.Event()
    publish = worker.publisher.publish

    async def publish_slowly(message):
        telling.set()
        await go_on.wait()
        await publish(message)

    worker.publisher.publish = publish_slowly
    settled = worker.deliver(job())
    await within(telling.wait())
    worker.runner.abandon(abandonment(job()))
    go_on.set()
    assert await within(settled) == "acknowledged"
    assert len(worker.results) == 1


@pytest.mark.parametrize("reason", ["abandoned", "timed out"])
async def test_a_thread_that_cannot_be_stopped_keeps_its_slot_and_holds_nobody_up(reason):
    begun, end_thread = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def block():
        loop.call_soon_threadsafe(begun.set)
        end_thread.wait(10)

    async def crop(received: NodeExecute):
        if received.node_id == "blocked":
            await run_in_thread(block)
        return Succeeded(TextValue(text=received.node_id))

    worker = Worker(concurrency=1, body=crop)
    blocked = job("blocked", timeout=0.2 if reason == "timed out" else None)
    settled, next_one = worker.deliver(blocked), worker.deliver(job("next"))
    await within(begun.wait())
    if reason == "abandoned":
        worker.runner.abandon(abandonment(blocked))
    assert await within(settled) == "acknowledged"
    assert not next_one.done()
    end_thread.set()
    assert await within(next_one) == "acknowledged"


async def test_when_stopping_jobs_under_way_are_finished_and_those_that_wait_go_back_to_their_queue():
    worker = Worker(concurrency=1)
    under_way, waiting = worker.deliver(job("under way")), worker.deliver(job("waiting"))
    await worker.publisher.wait_for(NodeStarted)
    stopping = asyncio.create_task(worker.runner.stop(patience=10))
    assert await within(waiting) == "acknowledged"
    worker.finish.set()
    await within(stopping)
    assert under_way.result() == "acknowledged"
    assert worker.begun == ["under way"]
    assert worker.publisher.of(NodeExecute) == [job("waiting")]
    assert [result.node_id for result in worker.results] == ["under way"]


async def test_what_does_not_end_in_time_when_stopping_is_cancelled_and_not_acknowledged():
    worker = Worker()
    settled = worker.deliver(job())
    await worker.publisher.wait_for(NodeStarted)
    await within(worker.runner.stop(patience=0.01))
    assert worker.stopped == ["ask"]
    assert not settled.done()
    assert worker.results == []


async def test_a_repetition_of_a_job_that_waits_does_not_cancel_it_when_it_goes_away():
    worker = Worker(concurrency=1)
    other = NodeExecute(run_id=uuid4(), node_id="ask", node_type="llm")
    settled = [worker.deliver(job()), worker.deliver(other), worker.deliver(other)]
    await worker.publisher.wait_for(NodeStarted)
    worker.finish.set()
    assert await within(asyncio.gather(*settled)) == ["acknowledged"] * 3
    assert len(worker.begun) == 2
    assert len(worker.results) == 3
