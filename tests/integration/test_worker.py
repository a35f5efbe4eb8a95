"""A worker on the real broker: results before acknowledgements, dead letters for what cannot be read."""

import asyncio
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from aio_pika import Message as AmqpMessage
from tests.integration.test_messaging import next_message

from shared.contracts.errors import invalid, unavailable
from shared.contracts.messages import NodeExecute, NodeFailed, NodeSucceeded, read_result
from shared.contracts.values import TextValue
from shared.topology import JOBS, RESULTS_QUEUE, check_queue
from shared.worker import Succeeded, worker_service

pytestmark = pytest.mark.usefixtures("empty_queues")


def job():
    return NodeExecute(run_id=uuid4(), node_id="ask", node_type="llm")


async def echo(received):
    return Succeeded(TextValue(text=received.node_id))


@asynccontextmanager
async def worker(stack, body, concurrency=4):
    async with worker_service(stack, "llm", body, concurrency=concurrency) as service:
        yield service


async def result_of(stack, channel, publisher, body):
    sent = job()
    async with worker(stack, body):
        await publisher.publish(sent)
        result = read_result((await next_message(channel, RESULTS_QUEUE)).body)
    assert result.about == sent.about
    return result


async def test_a_job_becomes_a_result(stack, channel, publisher):
    result = await result_of(stack, channel, publisher, echo)
    assert isinstance(result, NodeSucceeded)
    assert result.output == TextValue(text="ask")
    assert result.seconds is not None


async def test_bad_input_fails_for_good_and_an_absent_service_may_be_tried_again(stack, channel, publisher):
    async def refuse(_):
        raise invalid("image_corrupt", "broken")

    async def be_away(_):
        raise unavailable("asset_store_unavailable", "away")

    refused = await result_of(stack, channel, publisher, refuse)
    assert isinstance(refused, NodeFailed)
    assert (refused.error.code, refused.retryable) == ("image_corrupt", False)
    away = await result_of(stack, channel, publisher, be_away)
    assert isinstance(away, NodeFailed)
    assert (away.error.code, away.retryable) == ("asset_store_unavailable", True)


async def test_a_defect_of_the_body_fails_the_node_and_not_the_worker(stack, channel, publisher):
    async def stumble(_):
        raise ZeroDivisionError("secret detail")

    result = await result_of(stack, channel, publisher, stumble)
    assert isinstance(result, NodeFailed)
    assert result.error.code == "internal_error"
    assert "secret detail" not in result.error.message
    assert (await result_of(stack, channel, publisher, echo)).kind == "node.succeeded"


async def test_a_job_that_cannot_be_read_is_dead_lettered(stack, channel):
    exchange = await channel.get_exchange(JOBS)
    async with worker(stack, echo):
        await exchange.publish(AmqpMessage(b"\xff\xfe", message_id="poison"), "llm")
        assert (await next_message(channel, "dead.jobs.llm")).message_id == "poison"


async def test_a_job_that_comes_again_is_not_done_again_but_its_result_is_told_again(stack, channel, publisher):
    done, finish = [], asyncio.Event()

    async def count(received):
        done.append(received.node_id)
        await finish.wait()
        return Succeeded(TextValue(text=str(len(done))))

    repeated = job()
    async with worker(stack, count):
        for _ in range(3):
            await publisher.publish(repeated)
        finish.set()
        results = [read_result((await next_message(channel, RESULTS_QUEUE)).body) for _ in range(3)]
        await publisher.publish(repeated)
        results.append(read_result((await next_message(channel, RESULTS_QUEUE)).body))
    assert len(done) == 1
    assert results == [results[0]] * 4


async def test_no_more_jobs_are_taken_at_a_time_than_allowed(stack, channel, publisher):
    running, peak, release = 0, 0, asyncio.Event()
    full = asyncio.Event()

    async def wait_for_release(_):
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        if running == 2:
            full.set()
        await release.wait()
        running -= 1
        return Succeeded(TextValue(text=""))

    await publisher.publish_all([job() for _ in range(6)])
    async with worker(stack, wait_for_release, concurrency=2):
        async with asyncio.timeout(10):
            await full.wait()
        release.set()
        for _ in range(6):
            await next_message(channel, RESULTS_QUEUE)
    assert peak == 2


async def test_stopping_finishes_the_job_in_hand(stack, channel, publisher):
    begun, finish = asyncio.Event(), asyncio.Event()

    async def wait_to_finish(_):
        begun.set()
        await finish.wait()
        return Succeeded(TextValue(text="finished"))

    await publisher.publish(job())
    async with worker(stack, wait_to_finish):
        async with asyncio.timeout(10):
            await begun.wait()
        asyncio.get_running_loop().call_later(0.2, finish.set)
    result = read_result((await next_message(channel, RESULTS_QUEUE)).body)
    assert isinstance(result, NodeSucceeded)
    assert result.output == TextValue(text="finished")
    assert (await check_queue(channel, "jobs.llm")).declaration_result.message_count == 0
