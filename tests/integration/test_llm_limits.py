"""The limits of providers on a real PostgreSQL, shared by workers; and on a real broker, where jobs wait for them."""

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from uuid import uuid4

import pytest
from tests.integration.ledger import PATIENCE, HeldModel, Model, call, fetch, provider, reply, until, worker
from tests.integration.results import next_result
from tests.integration.test_messaging import depth

from llm_worker import opening
from llm_worker.admission import ProviderAdmission
from llm_worker.domain.breaker import Breaker
from llm_worker.domain.directory import Directory
from llm_worker.domain.model import ModelCall, ModelError, ModelErrorCode, ModelRequest
from llm_worker.domain.provider import Limits, Provider
from llm_worker.opening import open_calls
from shared.contracts.commands import NodeExecute
from shared.contracts.events import NodeFailed, NodeSucceeded
from shared.contracts.node_types import REGISTRY
from shared.contracts.run_options import Lane
from shared.contracts.values import TextValue
from shared.worker import Succeeded, worker_service

pytestmark = pytest.mark.usefixtures("empty_queues", "empty_tables")


async def test_no_more_calls_are_under_way_than_the_provider_allows_whoever_makes_them(stack):
    alone, model = provider(concurrency=1), HeldModel()
    async with worker(stack, alone) as calls, worker(stack, alone) as calls_of_other:
        first = asyncio.create_task(calls.complete(call(alone), model))
        await model.wait_asked()
        others = [asyncio.create_task(one.complete(call(alone), model)) for one in (calls, calls_of_other)]
        await until(lambda: _is_waited_for(calls, calls_of_other, asked=alone))
        assert model.asked == 1
        model.released.set()
        await asyncio.gather(first, *others)
    assert model.asked == 3
    assert await fetch(stack, "SELECT FROM llm_worker.permit") == []


async def _is_waited_for(*workers, asked):
    await asyncio.sleep(0)  # lets them come so far
    return all(calls.line(asked).desk.waiting == 1 for calls in workers)


async def test_what_one_worker_uses_another_waits_for_until_it_is_known_to_be_less(stack):
    # 600 tokens a minute: for what the first call is thought to take, the second would wait for an hour.
    slow, first, second = provider(tokens_per_minute=600), HeldModel(reply(input_tokens=1, output_tokens=1)), Model()
    async with worker(stack, slow) as calls, worker(stack, slow) as calls_of_other:
        long = asyncio.create_task(calls.complete(call(slow, max_output_tokens=30_000), first))
        await first.wait_asked()
        short = asyncio.create_task(calls_of_other.complete(call(slow, max_output_tokens=1), second))
        await until(lambda: _is_waited_for(calls_of_other, asked=slow))
        assert await _seconds_used(stack) > 2_900
        assert second.asked == 0
        first.released.set()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(long, short)
        assert await _seconds_used(stack) < 20


async def _seconds_used(stack):
    """Return for how many seconds from now the allowance of tokens is used up."""
    ahead = "SELECT tokens / 1e6 - extract(epoch FROM now()) AS seconds FROM llm_worker.provider"
    return float((await fetch(stack, ahead))[0]["seconds"])


def two_providers():
    def named(name, **limits):
        return Provider(
            name=name, base_url="http://127.0.0.1:1/v1", models=(f"{name}*",), limits=Limits(concurrency=1, **limits)
        )

    return named("busy"), named("free")


@asynccontextmanager
async def llm_worker(stack, providers, models, slots):
    """A worker whose models are these, by the name of their provider."""
    directory = Directory(providers)
    async with open_calls(stack, providers) as opened:

        async def ask(job):
            chosen = directory.choose(job.params.model)
            request = ModelRequest(chosen.model, None, "?", (), 10)
            asked = ModelCall(job.run_id, job.node_id, job.attempt, 1, None, chosen.provider, request)
            answer = await opened.calls.complete(asked, models[chosen.provider.name])
            return Succeeded(TextValue(text=answer.text), answer.usage)

        admission = ProviderAdmission(opened.calls, directory, default_model=providers[0].name, slots=slots)
        async with worker_service(stack, REGISTRY["llm"], ask, slots, admission=admission) as service:
            yield service


def job(model, node_id="ask", **fields):
    return NodeExecute(run_id=uuid4(), node_id=node_id, node_type="llm", params={"model": model}, **fields)


async def test_jobs_wait_in_the_queue_and_not_in_the_worker(stack, channel, publisher):
    alone, model = provider(concurrency=1), HeldModel()
    async with llm_worker(stack, [alone], {"offline": model}, slots=2):
        await publisher.publish_all([job("small") for _ in range(20)])
        await model.wait_asked()
        assert await depth(channel, "jobs.llm") == 18
        model.released.set()
        results = [await next_result(channel) for _ in range(20)]
    assert {type(result) for result in results} == {NodeSucceeded}
    assert model.asked == 20


async def test_jobs_wait_while_their_provider_is_left_alone(stack, channel, publisher, monkeypatch):
    monkeypatch.setattr(opening, "Breaker", partial(Breaker, failures=1, pause=0.3))
    away = ModelError(ModelErrorCode.UNAVAILABLE, "no answer", retryable=True)
    answers = iter([away, reply("back")])

    async def model():
        answer = next(answers)
        if isinstance(answer, ModelError):
            raise answer
        return answer

    async with llm_worker(stack, [provider()], {"offline": model}, slots=2):
        await publisher.publish(job("small"))
        assert isinstance(await next_result(channel), NodeFailed)
        await publisher.publish(job("small"))
        answered = await next_result(channel)
    assert isinstance(answered, NodeSucceeded)
    assert answered.output == TextValue(text="back")


async def test_a_provider_that_is_busy_does_not_hold_up_the_jobs_of_another(stack, channel, publisher):
    busy, free = HeldModel(reply("busy")), Model(reply("free"))
    async with llm_worker(stack, two_providers(), {"busy": busy, "free": free}, slots=4):
        await publisher.publish_all([job("busy") for _ in range(40)])
        await busy.wait_asked()
        await publisher.publish(job("free"))
        first = await next_result(channel)
        while not isinstance(first, NodeSucceeded):  # that the call lasts is told, too
            first = await next_result(channel)
        assert isinstance(first.output, TextValue)
        assert first.output.text == "free"
        assert busy.asked == 1
        busy.released.set()
        results = [await next_result(channel) for _ in range(40)]
    assert {type(result) for result in results} == {NodeSucceeded}
    assert busy.asked == 40
    assert [await depth(channel, REGISTRY["llm"].job_queue(lane)) for lane in Lane] == [0, 0, 0, 0]


async def test_jobs_that_wait_for_their_provider_when_the_worker_stops_go_back_to_their_queue(
    stack, channel, publisher
):
    alone, model = provider(concurrency=1), HeldModel()
    async with llm_worker(stack, [alone], {"offline": model}, slots=3):
        await publisher.publish_all([job("small") for _ in range(5)])
        await model.wait_asked()
        asyncio.get_running_loop().call_later(0.2, model.released.set)
    assert model.asked == 1
    assert await depth(channel, "jobs.llm") == 4
    assert await depth(channel, "jobs.llm.suspect") == 0


async def test_a_job_whose_model_nobody_has_is_begun_and_says_so(stack, channel, publisher):
    async with llm_worker(stack, two_providers(), {}, slots=2):
        await publisher.publish(job("other"))
        result = await next_result(channel)
    assert isinstance(result, NodeFailed)
    assert result.error.code == "unknown_model"
