"""A dead job whose run is still open, at the gateway: it joins the run again, or is found to have done so."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from tests.integration.dead_jobs import QUESTION, dead_letters, outcomes, rejecting_worker, start_runs, treat
from tests.integration.gateway_client import messages_in, until

from shared.contracts.commands import NodeReplay
from shared.contracts.events import NodeQueued
from shared.topology import RUNS

TWO = {"nodes": [{**QUESTION["nodes"][0], "id": node_id} for node_id in ("ask", "slow")], "edges": []}


@pytest.fixture
async def open_run(client, services, stack):
    """A run of which one job has died, and another one is in hand: its id, and the dead letter."""
    async with rejecting_worker(stack, but_for=("slow",)):
        (run_id,) = await start_runs(client, 1, TWO)
        (letter,) = await dead_letters(client, 1)
        yield run_id, letter


@asynccontextmanager
async def attempts_made(channel, publisher):
    """Answer commands for another attempt as the orchestrator does; yields what was asked for."""
    asked = []

    async def tell(command):
        asked.append(replay := NodeReplay.model_validate_json(command.body))
        await publisher.publish(queued_again(replay.run_id))

    queue = await channel.declare_queue("", exclusive=True)
    await queue.bind(RUNS, "node.replay")
    tag = await queue.consume(tell, no_ack=True)
    yield asked
    await queue.cancel(tag)
    await queue.delete(if_unused=False, if_empty=False)


async def test_a_job_joins_its_run_that_is_still_open(client, open_run, stack, channel, publisher):
    run_id, letter = open_run
    assert letter["runStatus"] == "running"
    async with attempts_made(channel, publisher) as asked:
        reply = await treat(client, "replay", all=True, params={"userMessage": "edited"})
    assert [result["outcome"] for result in reply["results"]] == ["rejoined"]
    assert [(str(replay.run_id), replay.node_id, replay.attempt) for replay in asked] == [(run_id, "ask", 1)]
    assert asked[0].params == {"userMessage": "edited"}
    assert await messages_in(stack, "dead.jobs.llm") == 0


def queued_again(run_id):
    about = {"run_id": run_id, "node_id": "ask", "node_type": "llm", "attempt": 2}
    return NodeQueued.model_validate({**about, "at": datetime.now(UTC)}, by_name=True)


async def test_a_job_whose_run_went_on_meanwhile_is_only_removed(client, open_run, stack, publisher):
    run_id, _ = open_run
    await publisher.publish(queued_again(run_id))

    async def is_known():
        nodes = (await client.get(f"/api/workflows/runs/{run_id}")).json()["nodes"]
        return [node["attempt"] for node in nodes if node["nodeId"] == "ask"] == [2]

    await until(is_known)
    assert await outcomes(client, "replay", all=True) == ["obsolete"]
    assert await messages_in(stack, "dead.jobs.llm") == 0
