"""Jobs that may not be begun yet: they go back to their queue as if they had never been out."""

import asyncio

from prometheus_client import CollectorRegistry
from tests.unit.test_worker_jobs import Delivery, Publisher, abandonment, job, within

from shared.contracts.commands import NodeExecute
from shared.contracts.events import NodeStarted, NodeSucceeded
from shared.contracts.run_options import Lane
from shared.contracts.values import TextValue
from shared.worker import Succeeded
from shared.worker.jobs import JobRunner
from shared.worker.slots import Slots


class Gate:
    """Admits jobs as it is told; counts what was released."""

    def __init__(self):
        self.answer = asyncio.Event()
        self.admits = False
        self.asked: list[str] = []
        self.was_asked = asyncio.Event()
        self.released = 0
        self.closed = False

    async def admit(self, job):
        self.asked.append(job.node_id)
        self.was_asked.set()
        await self.answer.wait()
        return self._release if self.admits else None

    def close(self):
        self.closed = True
        self.answer.set()

    def _release(self):
        self.released += 1


class Worker:
    """A runner with one slot and a gate."""

    def __init__(self):
        self.journal: list[str] = []
        self.publisher = Publisher(self.journal)
        self.gate = Gate()
        self.runner = JobRunner(self._work, self.publisher, Slots(1), CollectorRegistry(), admission=self.gate)

    def deliver(self, sent, lane=Lane.NORMAL):
        delivery = Delivery(sent, self.journal)
        self.runner.receive(delivery, lane)
        return delivery.settled

    async def _work(self, _job):
        return Succeeded(TextValue(text="done"))


async def test_a_job_that_is_not_admitted_is_published_again_and_nothing_is_told_of_it():
    worker = Worker()
    worker.gate.answer.set()
    assert await within(worker.deliver(job(), Lane.LOW)) == "acknowledged"
    assert worker.journal == ["node.execute", "acknowledged"]
    (back,) = worker.publisher.of(NodeExecute)
    assert (back.lane, back.attempt) == (Lane.LOW, 1)
    assert worker.publisher.of(NodeStarted) == []


async def test_a_job_that_was_sent_back_is_done_when_it_comes_again():
    worker = Worker()
    worker.gate.answer.set()
    await within(worker.deliver(job()))
    worker.gate.admits = True
    await within(worker.deliver(job()))
    assert worker.journal == ["node.execute", "acknowledged", "node.succeeded", "acknowledged"]
    assert worker.gate.released == 1


async def test_a_job_keeps_its_slot_while_it_waits_to_be_admitted_and_then_gives_it_back():
    worker = Worker()
    waiting = [worker.deliver(job("first")), worker.deliver(job("second"))]
    await within(worker.gate.was_asked.wait())
    assert worker.gate.asked == ["first"]
    worker.gate.answer.set()
    await within(asyncio.gather(*waiting))
    assert worker.gate.asked == ["first", "second"]


async def test_an_abandoned_job_is_not_waited_with():
    worker = Worker()
    first, second = worker.deliver(job("first")), worker.deliver(job("second"))
    await within(worker.gate.was_asked.wait())
    worker.runner.abandon(abandonment(job("first")))
    assert await within(first) == "acknowledged"
    worker.gate.admits = True
    worker.gate.answer.set()
    await within(second)
    assert [result.node_id for result in worker.publisher.of(NodeSucceeded)] == ["second"]


async def test_who_waits_when_the_worker_stops_goes_back():
    worker = Worker()
    settled = worker.deliver(job())
    await within(worker.gate.was_asked.wait())
    await within(worker.runner.stop(patience=5))
    assert worker.gate.closed
    assert await within(settled) == "acknowledged"
    assert worker.journal == ["node.execute", "acknowledged"]
