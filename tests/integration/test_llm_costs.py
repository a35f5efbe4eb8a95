"""What model calls have cost, from the ledger over the broker and the gateway to who asks."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from tests.integration.ledger import Model, call, reply, worker

from llm_worker.domain.model import ModelError, ModelErrorCode
from shared.contracts.queries import CostsReply

pytestmark = pytest.mark.usefixtures("empty_queues", "empty_tables")

FLOW = uuid4()


@pytest.fixture
async def ledger(stack):
    """A worker that has made a few calls, and answers questions about them."""
    priced = reply(input_tokens=10, cached_tokens=4, output_tokens=5, cost=0.1)
    refused = ModelError(ModelErrorCode.RATE_LIMITED, "slow down", retryable=True)
    lost = ModelError(ModelErrorCode.INCOMPLETE, "the line broke", retryable=True, ambiguous=True)
    async with worker(stack) as calls:
        for _ in range(3):
            await calls.complete(call(workflow_id=FLOW), Model(priced))
        await calls.complete(call(model="large"), Model(reply(input_tokens=1, output_tokens=1)))
        for failure in (refused, lost):
            with pytest.raises(ModelError):
                await calls.complete(call(model="large"), Model(failure))
        yield


async def costs(client, **asked):
    answer = await client.get("/api/costs", params=asked)
    assert answer.status_code == 200, answer.text
    return CostsReply.model_validate(answer.json())


async def test_costs_are_summed_up_exactly_and_what_nobody_knows_is_counted(client, ledger):
    told = await costs(client, by="model")
    small, large = told.rows
    assert (small.key, small.calls, small.cost, small.unpriced) == ("small", 3, 0.3, 0)
    assert (small.input_tokens, small.cached_tokens, small.output_tokens) == (30, 12, 15)
    assert (large.key, large.calls, large.failed, large.unknown, large.unpriced) == ("large", 3, 1, 1, 2)
    assert (told.total.key, told.total.calls, told.total.cost, told.total.unpriced) == (None, 6, 0.3, 2)


async def test_costs_of_workflows_are_told_apart_from_those_of_none(client, ledger):
    told = await costs(client, by="workflow")
    assert [(row.key, row.calls) for row in told.rows] == [(str(FLOW), 3), (None, 3)]


async def test_costs_are_told_by_day_and_since_a_time(client, ledger):
    now = datetime.now(UTC)
    told = await costs(client)
    assert {row.key for row in told.rows} <= {str(day.date()) for day in (now, now - timedelta(minutes=1))}
    assert (await costs(client, since=(now - timedelta(hours=1)).isoformat())).total == told.total
    later = await costs(client, since=(now + timedelta(hours=1)).isoformat())
    assert (later.rows, later.total.calls, later.total.cost) == ((), 0, 0.0)
