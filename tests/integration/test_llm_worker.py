"""The llm worker between a real broker and a real model server: what calls cost, and calls that nobody wants."""

from contextlib import asynccontextmanager
from uuid import uuid4

import httpx2
import pytest
from tests.integration.llm_jobs import offline, opened_decoders, opened_handler
from tests.integration.results import next_result
from tests.integration.test_messaging import depth
from tests.integration.test_offline_model import running

from shared.contracts.commands import NodeAbandon, NodeExecute
from shared.contracts.events import NodeFailed, NodeLasting, NodeSucceeded
from shared.contracts.node_types import REGISTRY
from shared.topology import RESULTS_QUEUE
from shared.worker import worker_service

pytestmark = pytest.mark.usefixtures("empty_queues")


@pytest.fixture(scope="module")
async def base_url():
    async with running() as (_, base_url):
        yield base_url


@pytest.fixture
async def model(base_url):
    """The controls of the model server."""
    async with httpx2.AsyncClient(base_url=base_url.removesuffix("/v1"), timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture
def worker(stack, base_url):
    @asynccontextmanager
    async def worker(concurrency=2):
        async with (
            opened_decoders() as decoders,
            opened_handler([offline(base_url)], decoders) as handler,
            worker_service(stack, REGISTRY["llm"], handler.execute, concurrency) as service,
        ):
            yield service

    return worker


def job(model="offline", **fields):
    return NodeExecute(run_id=uuid4(), node_id="ask", node_type="llm", params={"model": model}, **fields)


async def held(model, **awaited):
    response = await model.get("/control/calls", params={**awaited, "timeout": 20})
    assert response.json()["reached"]


async def test_an_answer_tells_what_it_cost(worker, channel, publisher):
    async with worker():
        await publisher.publish(job("offline:cost=0.25"))
        result = await next_result(channel)
    assert isinstance(result, NodeSucceeded)
    assert result.usage
    assert (result.usage.model, result.usage.cost) == ("offline:cost=0.25", 0.25)
    assert result.usage.output_tokens


async def test_a_refusal_tells_what_it_cost_all_the_same(worker, channel, publisher, model):
    await model.post("/control/behaviours", json=[{"kind": "refuse", "cost": 0.5}])
    async with worker():
        await publisher.publish(job())
        result = await next_result(channel)
    assert isinstance(result, NodeFailed)
    assert (result.error.code, result.retryable) == ("llm_refused", False)
    assert result.usage
    assert result.usage.cost == 0.5


async def test_the_call_of_an_abandoned_job_is_hung_up(worker, channel, publisher, model):
    unwanted = job("offline:hold")
    async with worker():
        await publisher.publish(unwanted)
        await held(model, held=1)
        await publisher.publish(NodeAbandon(**unwanted.about))
        await held(model, held_at_most=0)
        await publisher.publish(job())
        assert (await next_result(channel)).run_id != unwanted.run_id
    assert [await depth(channel, queue) for queue in (RESULTS_QUEUE, "jobs.llm")] == [0, 0]


async def test_a_call_that_takes_too_long_is_hung_up_and_may_be_repeated(worker, channel, publisher, model):
    async with worker(concurrency=1):
        await publisher.publish(job("offline:hold", timeout=0.3))
        await held(model, held=1)
        result = await next_result(channel)
        await held(model, held_at_most=0)
        await publisher.publish(job())
        assert isinstance(await next_result(channel), NodeSucceeded)
    assert isinstance(result, NodeFailed)
    assert (result.error.code, result.error.node_id, result.retryable) == ("node_timeout", "ask", True)


async def test_calls_that_last_are_told_of_while_they_do(worker, channel, publisher, model):
    async with worker():
        await publisher.publish_all([job("offline:hold"), job("offline:hold")])
        await held(model, held=2)
        lasting = [await next_result(channel) for _ in range(2)]
        await model.post("/control/release")
        results = [await next_result(channel) for _ in range(2)]
    assert {type(told) for told in lasting} == {NodeLasting}
    assert {type(result) for result in results} == {NodeSucceeded}
