"""Runs that are controlled: parts of workflows, cancelled, resumed, replayed and explained runs, each started once."""

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.integration.gateway_client import (
    GRAPH,
    execute,
    keep,
    messages_in,
    problem,
    recorded,
    until,
    upload,
    watch,
    watching,
)
from tests.integration.gateway_fixtures import gateway_process

from crop_worker.main import create_service as crop_worker
from gateway.started_runs import PRUNED_AT_ONCE, StartedRun, StartedRuns
from orchestrator.main import create_service as orchestrator
from shared.contracts.commands import MAX_START_BYTES, RunStart
from shared.contracts.graph import Node, WorkflowGraph
from shared.contracts.owners import LOCAL_OWNER
from shared.topology import COMMANDS_QUEUE

RUNS = "/api/workflows/runs"
BAD_CROP = {
    "nodes": [
        {"id": "photo", "type": "upload_image"},
        {"id": "good", "type": "crop_image", "params": {"width": 50}},
        {"id": "bad", "type": "crop_image", "params": {"unit": "px", "x": 5000, "width": 10, "height": 10}},
        {"id": "smaller", "type": "crop_image", "params": {"height": 50}},
    ],
    "edges": [
        {"source": "photo", "target": "good", "targetHandle": "image"},
        {"source": "photo", "target": "bad", "targetHandle": "image"},
        {"source": "bad", "target": "smaller", "targetHandle": "image"},
    ],
}
QUESTION = {
    "nodes": [
        {"id": "tone", "type": "text", "params": {"text": "calm"}},
        {"id": "ask", "type": "llm", "params": {"userMessage": "?"}},
        {"id": "again", "type": "llm", "params": {"userMessage": "?"}},
    ],
    "edges": [
        {"source": "tone", "target": "ask", "targetHandle": "system_prompt"},
        {"source": "ask", "target": "again", "targetHandle": "texts"},
    ],
}


async def ended(client, answer):
    """Return the run that was accepted, as it is recorded after its end, its nodes by id."""
    assert answer.status_code == 202, answer.text
    run = await recorded(client, answer.headers["location"])
    return run, {node["nodeId"]: node for node in run["nodes"]}


async def start_question(client, **fields):
    """Start a run that waits for a model's worker, which nobody runs; return its address once it waits."""
    workflow = await keep(client, QUESTION)
    answer = await client.post(f"/api/workflows/{workflow['id']}/execute", json=fields)
    assert answer.status_code == 202, answer.text
    location = answer.headers["location"]

    async def is_queued():
        nodes = (await client.get(location)).json()["nodes"]
        return any(node["status"] == "queued" for node in nodes)

    await until(is_queued)
    return location


async def test_one_node_is_executed_on_the_newest_output_of_the_rest(client, services):
    workflow = await keep(client)
    problem(await execute(client, workflow, scope="single", nodes=["out"], inputs={}), 422, "missing_output")
    _, first = await ended(client, await execute(client, workflow))
    run, nodes = await ended(client, await execute(client, workflow, scope="single", nodes=["out"], inputs={}))
    assert (run["status"], run["scope"], run["totalNodes"], run["cachedNodes"]) == ("completed", "single", 2, 1)
    assert nodes.keys() == {"half", "out"}
    assert (nodes["half"]["cached"], nodes["half"]["output"]) == (True, first["half"]["output"])
    assert "cached" not in nodes["out"] or not nodes["out"]["cached"]


async def test_what_is_lacking_is_named_before_anything_starts(client, services):
    workflow = await keep(client)
    answer = await execute(client, workflow, scope="selected", nodes=["half", "out"], inputs={})
    problem(answer, 422, "missing_output")
    assert [item["nodeId"] for item in answer.json()["problems"]] == ["photo"]
    assert (await client.get(RUNS)).json()["runs"] == []


async def test_a_source_gives_what_it_holds_now_and_a_pin_comes_before_it(client, services):
    workflow, picture = await keep(client), await upload(client)
    supplied = await execute(client, workflow, scope="selected", nodes=["half", "out"], inputs={"photo": picture})
    run, nodes = await ended(client, supplied)
    assert (run["status"], nodes["photo"]["cached"]) == ("completed", True)
    pinned = {"half": picture}
    run, nodes = await ended(client, await execute(client, workflow, scope="single", nodes=["out"], pinned=pinned))
    assert nodes["half"]["output"] == picture
    assert run["result"]["fields"]["left"] == picture


@pytest.mark.parametrize(
    ("wishes", "code"),
    [
        ({"scope": "single", "nodes": ["half", "out"]}, "invalid_scope"),
        ({"scope": "full", "nodes": ["half"]}, "invalid_scope"),
        ({"scope": "single", "nodes": ["nobody"]}, "unknown_node"),
        ({"pinned": {"nobody": {"type": "text", "text": "x"}}}, "unknown_node"),
        ({"pinned": {"half": {"type": "text", "text": "x"}}}, "type_mismatch"),
    ],
)
async def test_a_scope_that_makes_no_sense_is_refused(client, tracker_service, wishes, code):
    problem(await execute(client, await keep(client), **wishes), 422, code)


async def test_a_resumed_run_reuses_what_succeeded_and_executes_what_was_edited(client, services):
    old, nodes = await ended(client, await execute(client, await keep(client, BAD_CROP)))
    assert (old["status"], nodes["bad"]["status"], nodes["smaller"]["status"]) == ("partial", "failed", "skipped")
    location = f"{RUNS}/{old['runId']}"
    problem(await client.post(f"{location}/resume", json={"fromNode": "nobody"}), 422, "unknown_node")
    edits = {"params": {"bad": {"x": 0}}, "options": {"maxInFlight": 2}}
    run, resumed = await ended(client, await client.post(f"{location}/resume", json=edits))
    assert (run["status"], run["resumedFrom"], run["cachedNodes"]) == ("completed", old["runId"], 2)
    assert (resumed["good"]["cached"], resumed["good"]["output"]) == (True, nodes["good"]["output"])
    assert "worker" not in resumed["good"]
    assert resumed["smaller"]["output"]["asset"]["height"] == 5

    replayed, again = await ended(client, await client.post(f"{RUNS}/{run['runId']}/replay"))
    assert (replayed["status"], replayed.get("resumedFrom")) == ("completed", None)
    assert replayed["runId"] not in {run["runId"], old["runId"]}
    assert again["smaller"]["output"] == resumed["smaller"]["output"]


async def test_a_run_is_resumed_from_its_start_with_another_picture(client, services):
    old, _ = await ended(client, await execute(client, await keep(client)))
    body = {"from": "start", "options": {"useCache": False}}
    run, nodes = await ended(client, await client.post(f"{RUNS}/{old['runId']}/resume", json=body))
    assert (run["status"], run["cachedNodes"]) == ("completed", 0)
    assert nodes["half"]["worker"]


async def test_only_a_run_that_has_ended_is_resumed(client, services):
    location = await start_question(client)
    problem(await client.post(f"{location}/resume"), 409, "run_not_finished")
    problem(await client.post(f"{RUNS}/{uuid4()}/resume"), 404, "run_not_found")
    problem(await client.post(f"{RUNS}/{uuid4()}/replay"), 404, "run_not_found")
    assert (await client.post(f"{location}/replay")).status_code == 202


async def test_a_cancelled_run_ends_and_stays_ended(client, services):
    location = await start_question(client)
    async with watching(client, location) as events:
        await anext(events)
        answer = await client.post(f"{location}/cancel", json={"reason": "enough"})
        assert (answer.status_code, answer.json()["status"]) == (202, "running")
        told = [(kind, data) async for kind, data in events]
    assert [data["nodeId"] for kind, data in told if kind == "node.cancelled"] == ["ask", "again"]
    assert told[-1][1]["status"] == "cancelled"

    async def is_recorded():
        return (await client.get(location)).json()["status"] == "cancelled"

    await until(is_recorded)
    answer = await client.post(f"{location}/cancel")
    problem(answer, 409, "run_finished")
    assert "cancelled" in answer.json()["detail"]
    problem(await client.post(f"{RUNS}/{uuid4()}/cancel"), 404, "run_not_found")


async def test_a_cancel_does_not_overtake_the_start_of_its_run(client, stack, tracker_service):
    workflow = await keep(client, QUESTION)
    location = (await client.post(f"/api/workflows/{workflow['id']}/execute")).headers["location"]
    problem(await client.post(f"{location}/cancel"), 503, "run_not_begun")
    assert await messages_in(stack, COMMANDS_QUEUE) == 1
    cancelling = asyncio.create_task(client.post(f"{location}/cancel"))
    async with orchestrator(stack):
        assert (await cancelling).status_code == 202
        assert (await watch(client, location))[-1][1]["status"] == "cancelled"


async def test_a_run_tells_what_it_waits_for(client, stack, services):
    location = await start_question(client)
    reply = (await client.get(f"{location}/why")).json()
    assert (reply["known"], reply["status"], reply["openNodes"]) == (True, "running", 2)
    reasons = {node["nodeId"]: node["reasons"][0]["code"] for node in reply["nodes"]}
    assert reasons == {"ask": "no_consumer", "again": "waiting_for_nodes"}
    reply = (await client.get(f"{location}/why", params={"node": "again"})).json()
    assert reply["nodes"][0]["reasons"][0]["nodes"] == ["ask"]
    problem(await client.get(f"{location}/why", params={"node": "nobody"}), 404, "node_not_found")
    problem(await client.get(f"{RUNS}/{uuid4()}/why"), 404, "run_not_found")


async def test_a_run_that_has_ended_waits_for_nothing_even_when_the_orchestrator_has_forgotten_it(
    client, stack, services
):
    run, _ = await ended(client, await execute(client, await keep(client)))
    address = f"{RUNS}/{run['runId']}/why"
    expected = {"known": True, "status": "completed", "reasons": [], "nodes": [], "openNodes": 0}
    assert (await client.get(address)).json() == expected
    connection = await asyncpg.connect(stack.database_url)
    await connection.execute("TRUNCATE orchestrator.journal, orchestrator.run")
    await connection.close()
    assert (await client.get(address)).json() == expected
    node = (await client.get(address, params={"node": "half"})).json()["nodes"][0]
    assert node == {"nodeId": "half", "status": "success", "reasons": []}
    problem(await client.get(address, params={"node": "nobody"}), 404, "node_not_found")


async def test_without_the_orchestrator_nobody_can_tell_why(client, tracker_service):
    location = (await execute(client, await keep(client))).headers["location"]
    problem(await client.get(f"{location}/why"), 503, "no_answer")


async def test_equal_requests_to_two_gateways_start_one_run(client, stack, services):
    workflow, body = await keep(client), {"inputs": {"photo": await upload(client)}, "triggerRunId": "mine"}
    path = f"/api/workflows/{workflow['id']}/execute"
    async with gateway_process(stack) as other:
        clients = [client, other.client] * 25
        answers = await asyncio.gather(*(item.post(path, json=body) for item in clients))
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["runId"] for answer in answers}) == 1
        run, _ = await ended(client, answers[0])
        different = await other.client.post(path, json={**body, "options": {"priority": "high"}})
        problem(different, 409, "trigger_conflict")
        assert run["runId"] in different.json()["detail"]
    by_header = await client.post(path, json={"inputs": body["inputs"]}, headers={"Idempotency-Key": "mine"})
    assert (by_header.status_code, by_header.json()["runId"]) == (202, run["runId"])
    assert by_header.json()["status"] == "completed"
    assert [item["runId"] for item in (await client.get(RUNS)).json()["runs"]] == [run["runId"]]


async def test_the_same_id_for_another_run_is_a_conflict(client, services):
    workflow, run_id = await keep(client), str(uuid4())
    assert (await execute(client, workflow, runId=run_id)).status_code == 202
    problem(await execute(client, workflow, runId=run_id, triggerRunId="other"), 409, "run_conflict")
    nameless = (await execute(client, workflow)).json()["runId"]
    for earlier in (run_id, nameless):
        replay = await client.post(f"{RUNS}/{earlier}/replay", json={"runId": earlier})
        problem(replay, 409, "run_conflict")
    problem(await execute(client, workflow, runId=nameless), 409, "run_conflict")


async def test_a_run_is_resumed_once_under_one_name(client, services):
    old, _ = await ended(client, await execute(client, await keep(client, BAD_CROP)))
    path, body = f"{RUNS}/{old['runId']}/resume", {"params": {"bad": {"x": 0}}, "triggerRunId": "second try"}
    answers = await asyncio.gather(*(client.post(path, json=body) for _ in range(10)))
    assert len({answer.json()["runId"] for answer in answers}) == 1
    await ended(client, answers[0])
    problem(await client.post(path, json={**body, "params": {}}), 409, "trigger_conflict")
    assert len((await client.get(RUNS)).json()["runs"]) == 2


async def test_a_name_that_a_run_of_another_door_has_is_told_to_whoever_watches(client, services, publisher):
    graph = WorkflowGraph(nodes=(Node(id="a", type="text"),))
    other = RunStart(run_id=uuid4(), graph=graph, trigger_run_id="taken", owner=LOCAL_OWNER)
    await publisher.publish(other)

    async def is_known():
        return (await client.get(f"{RUNS}/{other.run_id}")).status_code == 200

    await until(is_known)
    accepted = await execute(client, await keep(client), triggerRunId="taken")
    assert accepted.status_code == 202
    location = accepted.headers["location"]
    kind, data = (await watch(client, location))[-1]
    refusal = data["problem"] if kind == "run.rejected" else data["problems"][0]
    assert refusal["code"] == "trigger_conflict"
    assert str(other.run_id) in refusal["message"]
    run = await recorded(client, location)
    assert (run["status"], run["problems"]) == ("failed", [refusal])


async def test_a_start_over_the_limit_is_refused_with_it(client, stack):
    graph = {"nodes": [{"id": "a", "type": "text", "params": {"text": MAX_START_BYTES * "x"}}], "edges": []}
    workflow = await keep(client, graph)
    answer = await client.post(f"/api/workflows/{workflow['id']}/execute", json={"triggerRunId": "big"})
    problem(answer, 413, "start_too_large")
    assert f"{MAX_START_BYTES:,}" in answer.json()["detail"]
    assert await messages_in(stack, COMMANDS_QUEUE) == 0


async def test_a_workflow_without_a_worker_goes_on_when_one_comes(client, stack, tracker_service):
    async with orchestrator(stack):
        workflow = await keep(client, GRAPH)
        answer = await execute(client, workflow, options={"priority": "high", "concurrency": {"key": "k"}})
        async with crop_worker(stack):
            run, _ = await ended(client, answer)
    assert run["status"] == "completed"


@pytest.fixture
async def started_runs(database):
    return StartedRuns(database)


def started(trigger):
    command = RunStart(run_id=uuid4(), graph=WorkflowGraph(nodes=(Node(id="a", type="text"),)), trigger_run_id=trigger)
    return StartedRun(command, digest="d")


async def test_a_start_is_kept_once_for_each_of_its_names(started_runs):
    first, second = started("one"), started("two")
    assert await started_runs.add(first)
    assert not await started_runs.add(first)
    assert await started_runs.add(second)
    assert await started_runs.find(first.command.run_id, None, LOCAL_OWNER) == (first,)
    assert await started_runs.find(None, "two", LOCAL_OWNER) == (second,)
    assert len(await started_runs.find(first.command.run_id, "two", LOCAL_OWNER)) == 2
    assert await started_runs.find(UUID(int=0), "three", LOCAL_OWNER) == ()


async def test_old_starts_are_forgotten(started_runs, stack):
    kept, old = started("kept"), [started(None) for _ in range(PRUNED_AT_ONCE + 1)]
    for item in (kept, *old):
        await started_runs.add(item)
    connection = await asyncpg.connect(stack.database_url)
    await connection.execute(
        "UPDATE gateway.started_run SET created_at = now() - interval '91 days' WHERE trigger_run_id IS NULL"
    )
    await connection.close()
    assert await started_runs.prune() == PRUNED_AT_ONCE + 1
    assert await started_runs.find(None, "kept", LOCAL_OWNER) == (kept,)
    assert await started_runs.prune() == 0
