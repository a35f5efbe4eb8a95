"""Whether a worker asks after its jobs: after those it may have missed the end of, and where the broker is silent."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from tests.integration.line import line_to

from shared.contracts.commands import NodeExecute
from shared.contracts.node_types import REGISTRY
from shared.contracts.queries import AttemptReply
from shared.messaging.connection import connect
from shared.messaging.requests import Requests
from shared.topology import WHY_QUEUE
from shared.worker.backlog import PATIENCE, Backlog
from shared.worker.jobs import JobRunner
from shared.worker.subscriptions import Subscriptions

ANSWERS = 2  # of the broker to a look at a queue: to the channel, to the queue
LATER = timedelta(minutes=1)


class Unwanted(Requests):
    """Knows of no attempt that anybody waits for."""

    def __init__(self):
        self.asked = 0

    async def ask(self, query, queue, *, patience):
        self.asked += 1
        return AttemptReply(wanted=False).to_json()


def job():
    return NodeExecute(run_id=uuid4(), node_id="ask", node_type="llm")


@pytest.fixture
async def connection(stack):
    async with connect(stack.amqp_url, name="test", patience=5) as connection:
        yield connection


@pytest.fixture
async def orchestrator(connection):
    """Somebody who could be asked."""

    async def take(_):
        raise AssertionError("nothing is sent")

    channel = await connection.channel()
    queue = await channel.get_queue(WHY_QUEUE)
    tag = await queue.consume(take)
    yield
    await queue.cancel(tag)


@pytest.mark.parametrize("answers", range(ANSWERS))
async def test_a_job_is_done_though_the_broker_does_not_say_whether_anybody_can_be_asked(stack, answers):
    async with line_to(stack.amqp_url) as line, connect(line.url, name="test", patience=5) as connection:
        requests = await Requests.start(await connection.channel(), asker="test")
        backlog = Backlog(connection, requests)
        await line.freeze(after=answers)
        async with asyncio.timeout(5 * PATIENCE):
            assert await backlog.is_wanted(job(), datetime.now(UTC))
        await line.cut()  # else the connection would wait for the broker to answer to its end


@pytest.mark.usefixtures("orchestrator")
async def test_only_of_jobs_whose_abandonment_would_not_have_been_heard_it_is_asked(connection):
    requests = Unwanted()
    backlog = Backlog(connection, requests)
    assert not await backlog.is_wanted(job(), datetime.now(UTC) + LATER)
    backlog.hears_from_now_on()
    assert not await backlog.is_wanted(job(), datetime.now(UTC))
    assert await backlog.is_wanted(job(), datetime.now(UTC) + LATER)
    backlog.hears_nothing()
    assert not await backlog.is_wanted(job(), datetime.now(UTC) + LATER)
    assert requests.asked == 3


@pytest.mark.usefixtures("empty_queues")
async def test_from_a_connections_loss_until_abandonments_are_heard_again_nothing_is_taken_for_heard(stack):
    told = asyncio.Queue()

    class Noting(Backlog):
        def hears_from_now_on(self):
            told.put_nowait("hears")

        def hears_nothing(self):
            told.put_nowait("deaf")

    async with line_to(stack.amqp_url) as line, connect(line.url, name="test", patience=5) as connection:
        runner = JobRunner.__new__(JobRunner)  # no job comes
        subscriptions = Subscriptions(connection, REGISTRY["llm"], runner, concurrency=1)
        await subscriptions.start(Noting(connection, Unwanted()))
        assert told.get_nowait() == "hears"
        await line.cut()
        await line.restore()
        async with asyncio.timeout(10):
            heard = [await told.get()]
            while heard[-1] != "hears":
                heard.append(await told.get())
        assert set(heard[:-1]) == {"deaf"}
        await subscriptions.stop()
