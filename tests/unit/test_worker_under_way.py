"""Which jobs are told of while they are under way: those that take a while, together, each in its own trace."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from shared.contracts.bundles import Bundle, Told, telling
from shared.contracts.commands import NodeExecute
from shared.contracts.events import NodeLasting, read_event
from shared.telemetry.tracing import attached
from shared.worker import under_way
from shared.worker.under_way import UnderWay


class Publisher:
    """Keeps what is published, and in which trace."""

    def __init__(self):
        self.bundles: list[Told[Any]] = []
        self.lasting: list[NodeLasting] = []
        self.traces: list[int] = []
        self._published = asyncio.Event()

    def publish_unawaited(self, message):
        self.traces.append(trace.get_current_span().get_span_context().trace_id)
        if isinstance(message, Bundle):
            self.bundles.append(telling(read_event)(message.to_body()))
        else:
            self.lasting.append(message)
        self._published.set()

    async def wait_for(self, what, count=1):
        async with asyncio.timeout(10):
            while len(what) < count:
                self._published.clear()
                await self._published.wait()


@pytest.fixture
def publisher():
    return Publisher()


@pytest.fixture
def begin(publisher, monkeypatch):
    """Begins the job with that number, in the trace with that number."""
    monkeypatch.setattr(under_way, "STARTED_SECONDS", 0.5 * under_way.TICK_SECONDS)
    watched = UnderWay(publisher, worker="host:1")

    def begin_one(number):
        ids = SpanContext(number, number, is_remote=False, trace_flags=TraceFlags(1))
        with attached(trace.set_span_in_context(NonRecordingSpan(ids))):
            return watched.begin(NodeExecute(run_id=UUID(int=number), node_id="ask", node_type="llm"))

    return begin_one


async def test_those_that_go_on_are_told_of_together_and_those_that_are_over_are_not(publisher, begin):
    jobs = [begin(number) for number in (1, 2, 3)]
    jobs[1].is_over = True
    await publisher.wait_for(publisher.bundles)
    (together,) = publisher.bundles
    assert [(event.run_id, event.at) for event in together.messages] == [
        (begun.job.run_id, begun.at) for begun in (jobs[0], jobs[2])
    ]
    assert {(event.kind, event.worker) for event in together.messages} == {("node.started", "host:1")}


async def test_each_is_told_of_in_its_own_trace_and_all_together_in_none(publisher, begin, monkeypatch):
    monkeypatch.setattr(under_way, "LASTING_SECONDS", 0.0)
    for number in (1, 2):
        begin(number)
    await publisher.wait_for(publisher.lasting, 2)
    (together,) = publisher.bundles
    traces = [together.traces[event.message_id]["traceparent"].split("-")[1] for event in together.messages]
    assert [int(trace_id, 16) for trace_id in traces] == [1, 2]
    assert publisher.traces == [0, 1, 2]


async def test_each_is_told_of_once_and_that_it_lasts_once(publisher, begin, monkeypatch):
    monkeypatch.setattr(under_way, "LASTING_SECONDS", 0.15)
    first = begin(1)
    await publisher.wait_for(publisher.lasting)
    begin(2)
    await publisher.wait_for(publisher.lasting, 2)
    assert [[event.run_id.int for event in bundle.messages] for bundle in publisher.bundles] == [[1], [2]]
    assert [event.run_id.int for event in publisher.lasting] == [1, 2]
    assert publisher.lasting[0].started_at == first.at
