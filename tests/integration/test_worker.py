"""A worker on the real broker: results before acknowledgements, lanes, abandoned jobs, queues that come and go."""

import asyncio
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx2
import pytest
from aio_pika import Message as AmqpMessage
from tests.integration.results import next_result
from tests.integration.test_consumer_watch import PATIENCE, delete
from tests.integration.test_messaging import depth, next_message

from shared import topology
from shared.contracts.commands import NodeAbandon, NodeExecute, read_job
from shared.contracts.errors import UnavailableError, invalid, unavailable
from shared.contracts.events import NodeFailed, NodeLasting, NodeSucceeded
from shared.contracts.node_types import REGISTRY
from shared.contracts.run_options import Lane
from shared.contracts.values import TextValue
from shared.messaging.connection import connect
from shared.messaging.consumer_watch import ConsumerWatch
from shared.topology import JOBS, RESULTS_QUEUE
from shared.worker import Succeeded, worker_service

pytestmark = pytest.mark.usefixtures("empty_queues")


def job(node_id="ask", **fields):
    return NodeExecute(run_id=uuid4(), node_id=node_id, node_type="llm", **fields)


async def echo(received):
    return Succeeded(TextValue(text=received.node_id))


@asynccontextmanager
async def worker(stack, body, concurrency=4):
    async with worker_service(stack, REGISTRY["llm"], body, concurrency) as service:
        yield service


class Holding:
    """A body whose jobs wait until they are told to end; tells which were begun and which were stopped."""

    def __init__(self):
        self.begun = []
        self.stopped = []
        self.finish = asyncio.Event()
        self._changed = asyncio.Event()

    async def __call__(self, received):
        self.begun.append(received.node_id)
        self._notify()
        try:
            await self.finish.wait()
        except asyncio.CancelledError:
            self.stopped.append(received.node_id)
            self._notify()
            raise
        return Succeeded(TextValue(text=received.node_id))

    async def wait_for(self, reached):
        async with asyncio.timeout(PATIENCE):
            while not reached():
                await self._changed.wait()

    def _notify(self):
        self._changed.set()
        self._changed = asyncio.Event()


async def result_of(stack, channel, publisher, body):
    sent = job()
    async with worker(stack, body):
        await publisher.publish(sent)
        result = await next_result(channel)
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
        results = [await next_result(channel) for _ in range(3)]
        await publisher.publish(repeated)
        results.append(await next_result(channel))
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
            await next_result(channel)
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
    result = await next_result(channel)
    assert isinstance(result, NodeSucceeded)
    assert result.output == TextValue(text="finished")
    assert await depth(channel, "jobs.llm") == 0


async def test_jobs_that_wait_when_the_worker_stops_go_back_to_their_queues_as_if_they_had_never_been_out(
    stack, channel, publisher
):
    holding = Holding()
    async with worker(stack, holding, concurrency=1):
        await publisher.publish(job("under way"))
        await holding.wait_for(lambda: holding.begun)
        waiting = [job("waiting", lane=lane) for lane in (Lane.HIGH, Lane.LOW)]
        await publisher.publish_all(waiting)
        asyncio.get_running_loop().call_later(0.2, holding.finish.set)
    assert (await next_result(channel)).node_id == "under way"
    assert holding.begun == ["under way"]
    for sent in waiting:
        back = await next_message(channel, REGISTRY["llm"].job_queue(sent.lane))
        assert back.message_id == sent.message_id
        assert "x-delivery-count" not in back.headers


async def test_all_lanes_are_served_and_the_low_one_leaves_slots_to_the_others(stack, channel, publisher):
    holding = Holding()
    async with worker(stack, holding, concurrency=4):
        await publisher.publish_all([job("low", lane=Lane.LOW) for _ in range(20)])
        await holding.wait_for(lambda: len(holding.begun) == 3)
        await publisher.publish(job("normal"))
        await holding.wait_for(lambda: len(holding.begun) == 4)
        assert holding.begun[-1] == "normal"
        holding.finish.set()
        await publisher.publish(job("high", lane=Lane.HIGH))
        results = [await next_result(channel) for _ in range(22)]
    assert {result.node_id for result in results} == {"low", "normal", "high"}
    assert [await depth(channel, REGISTRY["llm"].job_queue(lane)) for lane in Lane] == [0, 0, 0, 0]


async def die_with_jobs_in_hand(stack, queue, count):
    """Be a worker that takes so many jobs and dies: nothing that it took is acknowledged."""
    async with connect(stack.amqp_url, name="dying worker", patience=5) as connection:
        taken = asyncio.Semaphore(0)

        async def take(_):
            taken.release()

        await (await (await connection.channel()).get_queue(queue, ensure=False)).consume(take)
        async with asyncio.timeout(PATIENCE):
            for _ in range(count):
                await taken.acquire()


async def test_jobs_in_hand_when_a_worker_died_are_tried_one_at_a_time(stack, channel, publisher):
    holding = Holding()
    await publisher.publish_all([job(f"innocent {number}") for number in range(3)])
    await die_with_jobs_in_hand(stack, "jobs.llm", 3)
    async with worker(stack, holding, concurrency=4):
        await holding.wait_for(lambda: holding.begun)
        await publisher.publish(job("other"))
        await holding.wait_for(lambda: len(holding.begun) == 2)
        assert holding.begun[-1] == "other"
        holding.finish.set()
        results = [await next_result(channel) for _ in range(4)]
    assert all(isinstance(result, NodeSucceeded) for result in results)
    assert [await depth(channel, name) for name in ("jobs.llm", "jobs.llm.suspect", "dead.jobs.llm")] == [0, 0, 0]


async def test_a_suspect_that_kills_its_worker_is_dead_and_its_neighbours_are_not(stack, channel, publisher):
    await publisher.publish_all([job("poison"), job("neighbour", lane=Lane.HIGH)])
    await die_with_jobs_in_hand(stack, "jobs.llm", 1)
    for _ in range(2):
        await die_with_jobs_in_hand(stack, "jobs.llm.suspect", 1)
    dead = await next_message(channel, "dead.jobs.llm")
    assert read_job(dead.body).node_id == "poison"
    async with worker(stack, echo):
        assert (await next_result(channel)).node_id == "neighbour"


async def test_a_suspect_that_waits_when_the_worker_stops_stays_a_suspect(stack, channel, publisher):
    holding = Holding()
    async with worker(stack, holding, concurrency=1):
        await publisher.publish(job("under way"))
        await holding.wait_for(lambda: holding.begun)
        await publisher.publish(job("waiting", lane=Lane.SUSPECT))
        asyncio.get_running_loop().call_later(0.2, holding.finish.set)
    assert (await next_message(channel, "jobs.llm.suspect")).body


async def test_a_job_that_lasts_is_told_of(stack, channel, publisher):
    holding = Holding()
    async with worker(stack, holding):
        await publisher.publish(job())
        lasting = await next_result(channel)
        holding.finish.set()
        assert isinstance(await next_result(channel), NodeSucceeded)
    assert isinstance(lasting, NodeLasting)
    assert lasting.started_at < lasting.at


async def test_a_job_that_is_abandoned_is_stopped_and_one_that_comes_too_late_is_not_begun(stack, channel, publisher):
    holding = Holding()
    under_way, other = job("under way"), job("other")
    async with worker(stack, holding):
        await publisher.publish(under_way)
        await holding.wait_for(lambda: holding.begun)
        await publisher.publish(NodeAbandon(**under_way.about))
        await holding.wait_for(lambda: holding.stopped)
        holding.finish.set()
        await publisher.publish_all([under_way, other])
        assert (await next_result(channel)).node_id == "other"
    assert holding.begun == ["under way", "other"]
    assert [await depth(channel, queue) for queue in (RESULTS_QUEUE, "jobs.llm", "dead.jobs.llm")] == [0, 0, 0]


async def test_every_worker_of_the_type_hears_what_is_abandoned(stack, channel, publisher):
    first, second, holding = job("first"), job("second"), Holding()
    async with worker(stack, holding, concurrency=1), worker(stack, holding, concurrency=1):
        await publisher.publish_all([first, second])
        await holding.wait_for(lambda: len(holding.begun) == 2)
        for one in (first, second):
            await publisher.publish(NodeAbandon(**one.about))
        await holding.wait_for(lambda: len(holding.stopped) == 2)


async def test_what_cannot_be_read_on_the_control_exchange_harms_nobody(stack, channel, publisher):
    async with worker(stack, echo):
        await (await channel.get_exchange(topology.CONTROL)).publish(AmqpMessage(b"{"), "llm")
        await publisher.publish(job())
        assert isinstance(await next_result(channel), NodeSucceeded)


@asynccontextmanager
async def watched_worker(stack, body):
    """Yield a worker, its queues, and a client of its HTTP side."""
    watched = []

    def watch(consumers):
        watched.extend(consumers)
        return ConsumerWatch(consumers, interval=0.05, patience=0.3)

    async with worker_service(stack, REGISTRY["llm"], body, 2, watch=watch) as service:
        transport = httpx2.ASGITransport(service.http)
        async with httpx2.AsyncClient(transport=transport, base_url="http://worker") as client:
            yield service, watched, client


@pytest.mark.parametrize("lane", Lane)
async def test_a_job_queue_that_was_deleted_is_consumed_again_when_it_is_there_again(
    stack, admin, channel, publisher, lane
):
    queue = REGISTRY["llm"].job_queue(lane)
    async with watched_worker(stack, echo) as (_, watched, _):
        await delete(admin, queue, watched)
        await topology.declare(admin)
        async with asyncio.timeout(PATIENCE):
            await publisher.publish(job(lane=lane))
            assert isinstance(await next_result(channel), NodeSucceeded)
    assert await depth(channel, queue) == 0


async def test_a_job_in_hand_while_its_queue_is_deleted_is_finished_and_the_worker_goes_on(
    stack, admin, channel, publisher
):
    holding = Holding()
    async with watched_worker(stack, holding) as (_, watched, _):
        await publisher.publish(job("in hand"))
        await holding.wait_for(lambda: holding.begun)
        await delete(admin, "jobs.llm", watched)
        await topology.declare(admin)
        holding.finish.set()
        assert (await next_result(channel)).node_id == "in hand"
        await publisher.publish(job("next"))
        assert (await next_result(channel)).node_id == "next"


async def test_a_worker_whose_queue_stays_away_is_not_ready_and_ends(stack, admin):
    async with watched_worker(stack, echo) as (service, watched, client):
        assert (await client.get("/ready")).status_code == 200
        await delete(admin, "jobs.llm", watched)
        with pytest.raises(UnavailableError) as raised:
            async with asyncio.timeout(PATIENCE):
                await service.background[0]()
        assert raised.value.code == "consumer_lost"
        response = await client.get("/ready")
        assert (response.status_code, response.json()["failing"]) == (503, ["consumers"])


async def test_after_a_lost_connection_jobs_and_abandonments_are_heard_again(stack, channel, publisher):
    holding = Holding()
    async with watched_worker(stack, holding) as (_, watched, _):
        consumed = watched[0][0].channel
        again = asyncio.Event()
        consumed.reopen_callbacks.add(lambda *_: again.set())
        await (await consumed.get_underlay_channel()).connection.close()
        async with asyncio.timeout(PATIENCE):
            await again.wait()
        sent = job()
        await publisher.publish(sent)
        await holding.wait_for(lambda: holding.begun)
        await publisher.publish(NodeAbandon(**sent.about))
        await holding.wait_for(lambda: holding.stopped)


async def test_a_worker_without_its_queue_says_so(stack, admin):
    await admin.queue_delete("jobs.llm")
    with pytest.raises(UnavailableError) as raised:
        async with worker(stack, echo):
            pass
    assert raised.value.code == "topology_missing"
    assert "jobs.llm" in str(raised.value)
