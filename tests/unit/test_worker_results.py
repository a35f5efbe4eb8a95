"""Results on their way: one at once, those that come meanwhile together, and what is wrong with one harms no other."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from shared.contracts.bundles import Bundle, telling
from shared.contracts.errors import InvalidInputError, UnavailableError, invalid, unavailable
from shared.contracts.events import NodeSucceeded, read_result
from shared.contracts.values import TextValue
from shared.telemetry.tracing import attached
from shared.worker.results import Results

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LARGE = "large"


class Publisher:
    """Publishes when it is let; refuses what is large, and everything while it is away."""

    def __init__(self):
        self.published, self.let, self.is_away = [], asyncio.Semaphore(0), False
        self.contexts = []

    async def publish(self, message):
        await self.publish_all([message])

    async def publish_all(self, messages):
        for message in messages:
            self.contexts.append(trace.get_current_span().get_span_context())
            await self.let.acquire()
            if self.is_away:
                raise unavailable("publish_failed", "away")
            if LARGE.encode() in message.to_body():
                raise invalid("message_too_large", "it is over the limit")
            self.published.append(message)

    def let_all(self):
        for _ in range(100):
            self.let.release()

    def told(self):
        return [sorted(event.node_id for event in _told(message).messages) for message in self.published]


def _told(message):
    return telling(read_result)(message.to_body())


@pytest.fixture
def publisher():
    return Publisher()


@pytest.fixture
def tell(publisher):
    """Begins to tell results, in the traces with their numbers; returns the tasks."""
    results = Results(publisher)

    async def telling_one(number, text):
        ids = SpanContext(number + 1, number + 1, is_remote=False, trace_flags=TraceFlags(1))
        with attached(trace.set_span_in_context(NonRecordingSpan(ids))):
            await results.publish(succeeded(number, text))

    async def begin(*numbers, text="!"):
        tasks = [asyncio.create_task(telling_one(number, text)) for number in numbers]
        await asyncio.sleep(0.01)
        return tasks

    return begin


def succeeded(number, text="!"):
    output = TextValue(text=text)
    return NodeSucceeded(run_id=UUID(int=number), node_id=f"n{number}", node_type="llm", at=NOW, output=output)


async def test_those_that_come_while_one_is_on_its_way_follow_together(publisher, tell):
    first = await tell(0)
    others = await tell(1, 2, 3)
    assert not any(task.done() for task in (*first, *others))
    publisher.let_all()
    await asyncio.gather(*first, *others)
    assert publisher.told() == [["n0"], ["n1", "n2", "n3"]]
    assert isinstance(publisher.published[0], NodeSucceeded)
    assert isinstance(publisher.published[1], Bundle)


async def test_each_stays_in_the_trace_of_its_job(publisher, tell):
    tasks = await tell(0) + await tell(1, 2)
    publisher.let_all()
    await asyncio.gather(*tasks)
    assert [context.trace_id for context in publisher.contexts] == [1, 0]
    traces = _told(publisher.published[1]).traces.values()
    assert [headers["traceparent"].split("-")[1] for headers in traces] == [f"{number:032x}" for number in (2, 3)]


async def test_one_that_is_too_large_harms_no_other(publisher, tell):
    first = await tell(0)
    others = await tell(1, 2)
    (large,) = await tell(3, text=LARGE)
    publisher.let_all()
    await asyncio.gather(*first, *others)
    with pytest.raises(InvalidInputError):
        await large
    assert publisher.told() == [["n0"], ["n1"], ["n2"]]


async def test_while_the_broker_is_away_all_hear_of_it_and_may_try_again(publisher, tell):
    publisher.is_away = True
    tasks = await tell(0) + await tell(1, 2)
    publisher.let_all()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [UnavailableError] * 3
    publisher.is_away = False
    await asyncio.gather(*await tell(4))
    assert publisher.told() == [["n4"]]


async def test_who_is_cancelled_holds_up_nobody(publisher, tell):
    tasks = await tell(0) + await tell(1, 2)
    tasks[1].cancel()
    publisher.let_all()
    await asyncio.wait(tasks)
    assert tasks[1].cancelled()
    assert publisher.told() == [["n0"], ["n1", "n2"]]
