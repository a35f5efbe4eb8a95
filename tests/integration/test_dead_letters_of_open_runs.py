"""A dead job whose run is still open, at the gateway and with the real orchestrator: it joins the run again."""

import asyncio

import pytest
from tests.integration.dead_jobs import (
    DEAD,
    QUESTION,
    dead_letters,
    die_again,
    ended,
    obeying_worker,
    outcomes,
    rejecting_worker,
    start_runs,
    treat,
)
from tests.integration.gateway_client import messages_in, until

NODES = [{**QUESTION["nodes"][0], "id": node_id} for node_id in ("ask", "slow", "join")]
EDGES = [{"source": source, "target": "join", "targetHandle": "user_message"} for source in ("ask",)]
GRAPH = {"nodes": NODES, "edges": EDGES}


@pytest.fixture
async def open_run(client, services, stack):
    """A run of which one job has died, and another one is in hand: its id, and the dead letter."""
    async with rejecting_worker(stack, but_for=("slow",)):
        (run_id,) = await start_runs(client, 1, GRAPH)
        (letter,) = await dead_letters(client, 1)
        yield run_id, letter


async def node_of(client, run_id, node_id):
    run = (await client.get(f"/api/workflows/runs/{run_id}")).json()
    return next(node for node in run["nodes"] if node["nodeId"] == node_id)


async def test_a_job_joins_its_run_with_edited_params_and_the_run_completes(client, services, stack):
    async with rejecting_worker(stack, but_for=("slow",)):
        (run_id,) = await start_runs(client, 1, GRAPH)
        (letter,) = await dead_letters(client, 1)
        assert letter["runStatus"] == "running"
    done, bodies = [], (await client.get(DEAD, params={"bodies": True})).json()["letters"]
    reply = await treat(client, "replay", all=True, params={"userMessage": "edited"})
    assert [result["outcome"] for result in reply["results"]] == ["rejoined"]
    assert await messages_in(stack, "dead.jobs.llm") == 0
    async with obeying_worker(stack, done):
        run = await ended(client, run_id)
    assert (run["status"], run["successfulNodes"]) == ("completed", 3)
    assert sorted(node_id for _, node_id, _ in done) == ["ask", "join", "slow"]
    assert (run_id, "ask", "edited") in done
    await die_again(stack, bodies)
    assert await outcomes(client, "replay", all=True) == ["obsolete"]
    assert await messages_in(stack, "dead.jobs.llm") == 0


async def test_the_same_replayed_by_two_at_once_is_done_once(client, open_run, stack):
    run_id, letter = open_run
    requests = (client.post(f"{DEAD}/replay", json={"ids": [letter["id"]]}) for _ in range(2))
    results = [result for answer in await asyncio.gather(*requests) for result in answer.json()["results"]]
    assert [result["outcome"] for result in results] == ["rejoined"]
    assert (await node_of(client, run_id, "ask"))["attempt"] == 2


async def test_a_job_that_was_replayed_when_its_letter_comes_again_is_only_removed(client, open_run, stack):
    run_id, letter = open_run
    assert await outcomes(client, "replay", all=True) == ["rejoined"]

    async def is_dead_again():
        return (await client.get(DEAD)).json()["total"] == 1

    await until(is_dead_again)  # the second attempt has died, too
    assert (await node_of(client, run_id, "ask"))["attempt"] == 2
    assert await outcomes(client, "replay", ids=[letter["id"]]) == []
    assert await outcomes(client, "replay", all=True) == ["rejoined"]
