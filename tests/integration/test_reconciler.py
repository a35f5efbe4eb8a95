"""What keeps runs from sticking, and tells what they wait for, on the real broker and database."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from tests.unit.core import chain, wide

from orchestrator.admission import Admission
from orchestrator.alarm import Alarm
from orchestrator.batch import take_in_batch
from orchestrator.domain.timers import GRACE, TURNS
from orchestrator.journal import Journal
from orchestrator.queries import QueryHandler, QueueGauge
from orchestrator.reconciler import SUSPICION, Reconciler
from orchestrator.waiting_jobs import WaitingJobs
from shared.contracts.commands import NodeExecute, RunAdmit, RunCancel, RunStart, read_command
from shared.contracts.errors import Problem
from shared.contracts.events import NodeFailed, NodeLasting, NodeSucceeded, read_result
from shared.contracts.queries import Explain, GetAttempt
from shared.contracts.run_options import Concurrency, Lane, RunOptions
from shared.contracts.values import TextValue
from shared.messaging.connection import connect
from shared.topology import COMMANDS_QUEUE, RESULTS_QUEUE

NOW = datetime.now(UTC)
TIMEOUT = 20
GIVEN_UP = timedelta(seconds=TURNS * TIMEOUT + GRACE + 1)
WAITS = RunOptions(concurrency=Concurrency(key="shop"))


@pytest.fixture
async def connection(stack):
    async with connect(stack.amqp_url, name="test", patience=5) as connection:
        yield connection


@pytest.fixture
def gauge(connection):
    return QueueGauge(connection)


@pytest.fixture
def journal(database, empty_queues):
    return Journal(database)


@pytest.fixture
def handler(journal, database, gauge):
    return QueryHandler(journal, Admission(database), gauge)


async def started(journal, graph, **fields):
    """Start a run whose jobs are never published: they are lost."""
    command = RunStart(run_id=uuid4(), graph=graph, **fields)
    messages = (await take_in_batch(journal, [command], now=NOW)).messages
    return command.run_id, [message for message in messages if isinstance(message, NodeExecute)]


async def taken(channel):
    """Take what the orchestrator told itself out of its queues."""
    messages = []
    for name, read in ((COMMANDS_QUEUE, read_command), (RESULTS_QUEUE, read_result)):
        queue = await channel.get_queue(name, ensure=False)
        while message := await queue.get(no_ack=True, fail=False):
            messages.append(read(message.body))
    return messages


async def sweep(reconciler, channel):
    await reconciler.sweep()
    return await taken(channel)


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def reconciler(journal, database, publisher, gauge, clock):
    return Reconciler(
        journal,
        Admission(database),
        publisher,
        Alarm(publisher),
        waiting_jobs=WaitingJobs(publisher),
        depth=gauge.depth,
        clock=clock,
    )


async def test_a_job_that_is_gone_without_a_word_is_given_up(journal, reconciler, channel, clock):
    run_id, _ = await started(journal, wide(1, timeout=TIMEOUT))
    assert await sweep(reconciler, channel) == []
    clock.now += GIVEN_UP
    assert await sweep(reconciler, channel) == []
    clock.now += SUSPICION
    (expire,) = await sweep(reconciler, channel)
    assert expire.message_id == f"{run_id}/n0/1/node.expire"
    again = (await take_in_batch(journal, [expire], now=clock.now)).messages
    assert "node.retrying" in [message.kind_name() for message in again]


async def test_a_job_that_waits_in_its_queue_is_not_given_up(journal, reconciler, channel, publisher, clock):
    _, jobs = await started(journal, wide(1, timeout=TIMEOUT))
    await publisher.publish_all(jobs)
    for _ in range(3):
        clock.now += GIVEN_UP
        assert await sweep(reconciler, channel) == []


async def test_a_job_that_a_worker_told_of_is_left_to_its_timer(journal, reconciler, channel, clock):
    _, (job,) = await started(journal, wide(1, timeout=TIMEOUT))
    await take_in_batch(journal, [NodeLasting(**job.about, at=NOW, started_at=NOW)], now=NOW)
    for _ in range(3):
        clock.now += GIVEN_UP
        assert await sweep(reconciler, channel) == []


async def test_a_run_whose_admission_was_lost_is_admitted_again(journal, database, reconciler, channel):
    first, _ = await started(journal, wide(1), options=WAITS)
    await started(journal, wide(1), options=WAITS)
    assert await Admission(database).admit(["shop"]) == [first]  # and its process died before it was told
    (admit,) = await sweep(reconciler, channel)
    assert isinstance(admit, RunAdmit)
    assert admit.run_id == first


async def reasons(handler, run_id, node_id=None):
    reply = await handler.why(Explain(run_id=run_id, node_id=node_id))
    return {node.node_id: node.reasons[0] for node in reply.nodes}


async def test_why_names_the_nodes_that_are_waited_for_and_a_queue_without_a_consumer(journal, handler, publisher):
    run_id, jobs = await started(journal, chain("a", "b"))
    await publisher.publish_all(jobs)
    told = await reasons(handler, run_id)
    assert (told["a"].code, told["a"].queue, told["a"].messages, told["a"].consumers) == (
        "no_consumer",
        "jobs.llm",
        1,
        0,
    )
    assert (told["b"].code, told["b"].nodes) == ("waiting_for_nodes", ("a",))


async def test_why_tells_a_job_that_waits_from_one_that_a_worker_has(journal, handler, channel, publisher):
    run_id, (job,) = await started(journal, wide(1, timeout=TIMEOUT))
    queue = await channel.get_queue("jobs.llm", ensure=False)

    async def keep(_):
        pass

    tag = await queue.consume(keep)
    assert (await reasons(handler, run_id))["n0"].code == "queued"
    await take_in_batch(journal, [NodeLasting(**job.about, at=NOW, started_at=NOW)], now=NOW)
    running = (await reasons(handler, run_id, "n0"))["n0"]
    assert (running.code, running.since, running.until) == (
        "running",
        NOW,
        NOW + timedelta(seconds=TIMEOUT + GRACE),
    )
    await queue.cancel(tag)


async def test_why_tells_that_a_job_may_be_a_suspect(journal, handler, publisher):
    run_id, (job,) = await started(journal, wide(1))
    await publisher.publish(job.model_copy(update={"lane": Lane.SUSPECT}))
    reply = await handler.why(Explain(run_id=run_id))
    told = {reason.code: reason for reason in reply.nodes[0].reasons}
    assert told.keys() == {"no_consumer", "suspects_waiting"}
    assert (told["suspects_waiting"].queue, told["suspects_waiting"].messages) == ("jobs.llm.suspect", 1)


async def test_why_tells_of_pauses_windows_turns_and_budgets(journal, handler):
    run_id, (job,) = await started(journal, wide(2), options=RunOptions(max_in_flight=1))
    waiting = (await reasons(handler, run_id, "n1"))["n1"]
    assert (waiting.code, waiting.place) == ("in_flight_limit", 1)
    error = Problem(code="llm_rate_limited", message="slow down")
    await take_in_batch(journal, [NodeFailed(**job.about, at=NOW, error=error, retryable=True)], now=NOW)
    retrying = (await reasons(handler, run_id, "n0"))["n0"]
    assert (retrying.code, retrying.error and retrying.error.code) == ("retry_pending", "llm_rate_limited")
    assert retrying.until
    await started(journal, wide(1), options=WAITS)
    second, _ = await started(journal, wide(1), options=WAITS)
    reply = await handler.why(Explain(run_id=second))
    assert [(reason.code, reason.place) for reason in reply.reasons] == [("concurrency_limit", 2)]


async def test_an_attempt_is_wanted_until_it_is_given_up(journal, handler):
    run_id, (first, second) = await started(journal, wide(2))

    async def is_wanted(**about):
        return (await handler.attempt(GetAttempt(run_id=run_id, **about))).wanted

    assert await is_wanted(node_id="n0", attempt=1)
    error = Problem(code="llm_unavailable", message="away")
    await take_in_batch(journal, [NodeFailed(**first.about, at=NOW, error=error, retryable=True)], now=NOW)
    assert not await is_wanted(node_id="n0", attempt=1)
    await take_in_batch(journal, [RunCancel(run_id=run_id)], now=NOW)
    assert not await is_wanted(node_id=second.node_id, attempt=1)
    assert await is_wanted(node_id="unknown", attempt=1)
    assert (await handler.attempt(GetAttempt(run_id=uuid4(), node_id="n0", attempt=1))).wanted


async def test_why_of_what_has_ended_and_of_what_nobody_knows(journal, handler):
    run_id, (job,) = await started(journal, wide(1))
    assert not (await handler.why(Explain(run_id=run_id, node_id="nobody"))).known
    await take_in_batch(journal, [NodeSucceeded(**job.about, at=NOW, output=TextValue(text="!"))], now=NOW)
    reply = await handler.why(Explain(run_id=run_id))
    assert (reply.known, reply.status, reply.nodes, reply.open_nodes) == (True, "completed", (), 0)
    assert not (await handler.why(Explain(run_id=uuid4()))).known
