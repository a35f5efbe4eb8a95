"""Each owner has things of their own: over every route of the gateway, those of others are not there."""

import asyncio
import json
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import httpx2
import pytest
from tests.integration.gateway_client import GRAPH, execute, keep, problem, recorded, until, upload, watch
from tests.integration.gateway_fixtures import gateway_process

from gateway.app import openapi_document
from shared.contracts.commands import RunStart
from shared.contracts.graph import read_graph

OPERATIONS: list[tuple[str, str]] = [
    (method.upper(), path) for path, methods in openapi_document()["paths"].items() for method in methods
]
ABOUT_SOMETHING = [item for item in OPERATIONS if "{" in item[1]]
LISTS = [item for item in OPERATIONS if item[0] == "GET" and "{" not in item[1]]
# The first is everybody's, the rest the administrators'.
NOT_OWNED = {"/api/node-types", "/api/keys", "/api/costs", "/api/queues", "/api/dead-letters"}
BODIES = {"": {"graph": GRAPH}, "/execute-batch": {"inputs": [{}]}}  # by the end of the path; else an empty one
SIGNED = "/assets/"  # who was given a link may follow it


@asynccontextmanager
async def key_of(gateway, owner, **wishes):
    """Yield a client with a new key of an owner, who is nobody's namesake."""
    body = {"name": "test", "owner": owner, **wishes}
    made = await gateway.client.post("/api/keys", json=body)
    assert made.status_code == 201, made.text
    headers = {"Authorization": f"Bearer {made.json()['key']}"}
    async with httpx2.AsyncClient(
        base_url=gateway.client.base_url, headers=headers, timeout=20, trust_env=False
    ) as client:
        yield client, made.json()


@pytest.fixture
async def alice(gateway):
    async with key_of(gateway, f"alice-{uuid4().hex}") as (client, _):
        yield client


@pytest.fixture
async def bob(gateway):
    async with key_of(gateway, f"bob-{uuid4().hex}") as (client, _):
        yield client


async def completed_run(client, **fields):
    """Return a workflow and the address of a run of it that is recorded as completed."""
    workflow = await keep(client)
    accepted = await execute(client, workflow, **fields)
    assert accepted.status_code == 202, accepted.text
    location = accepted.headers["location"]
    await recorded(client, location)
    return workflow, location


@pytest.fixture
async def things(alice, services):
    """What Alice has, by the names that paths have for it."""
    workflow, location = await completed_run(alice, triggerRunId="alices")
    return {"workflowId": workflow["id"], "runId": location.rpartition("/")[2], "triggerRunId": "alices"}


async def test_what_belongs_to_others_is_not_found_on_any_route(alice, bob, things):
    for method, path in ABOUT_SOMETHING:
        if path.startswith((*NOT_OWNED, SIGNED)):
            continue
        names = {name: thing for name, thing in things.items() if f"{{{name}}}" in path}
        assert names, f"{path} is about something of which this test does not know whose it is"
        body = {"json": BODIES.get(path.rpartition("}")[2], {})} if method in {"POST", "PUT", "PATCH"} else {}
        answer = await bob.request(method, path.format(**names), **body)
        assert answer.status_code == 404, f"{method} {path}: {answer.status_code} {answer.text}"
        assert answer.json()["code"] in {"run_not_found", "workflow_not_found"}
    for location in (f"/api/workflows/{things['workflowId']}", f"/api/workflows/runs/{things['runId']}"):
        assert (await alice.get(location)).status_code == 200


async def test_what_belongs_to_others_is_in_no_list(bob, things):
    for _, path in LISTS:
        if path in NOT_OWNED or not path.startswith("/api/"):
            continue
        (listed,) = (await bob.get(path)).json().values()
        assert listed == [], path


async def test_who_administers_sees_all(client, things):
    run = (await client.get(f"/api/workflows/runs/{things['runId']}")).json()
    assert run["owner"].startswith("alice-")
    assert (await client.get(f"/api/workflows/runs/{things['runId']}/why")).status_code == 200
    assert (await client.get(f"/api/workflows/{things['workflowId']}")).status_code == 200


async def test_a_run_that_nobody_owns_is_seen_by_who_administers_only(client, bob, services, publisher):
    graph = read_graph({"nodes": [{"id": "a", "type": "text", "params": {"text": "x"}}], "edges": []})
    run_id = uuid4()
    await publisher.publish(RunStart(run_id=run_id, graph=graph))

    async def is_known():
        return (await client.get(f"/api/workflows/runs/{run_id}")).status_code == 200

    await until(is_known)
    problem(await bob.get(f"/api/workflows/runs/{run_id}"), 404, "run_not_found")


async def test_two_owners_use_the_same_names_without_noticing_each_other(alice, bob, services):
    workflow_id, trigger = str(uuid4()), "mine"
    locations = []
    for owner, name in ((alice, "one"), (bob, "two")):
        workflow = await keep(owner, {**GRAPH, "name": name}, id=workflow_id)
        accepted = await execute(owner, workflow, triggerRunId=trigger)
        assert accepted.status_code == 202, accepted.text
        run = await recorded(owner, accepted.headers["location"])
        assert run["status"] == "completed"
        locations.append(accepted.headers["location"])
    assert len(set(locations)) == 2
    for owner, name in ((alice, "one"), (bob, "two")):
        assert (await owner.get(f"/api/workflows/{workflow_id}")).json()["name"] == name
        assert len((await owner.get(f"/api/workflows/{workflow_id}/runs")).json()["runs"]) == 1


async def test_the_stream_of_a_workflow_tells_nothing_of_other_owners_with_the_same_id(alice, bob, services):
    workflow_id = str(uuid4())
    for owner in (alice, bob):
        workflow = await keep(owner, id=workflow_id)
    async with asyncio.timeout(30), bob.sse(f"/api/workflows/{workflow_id}/events") as source:
        events = aiter(source)
        assert (await anext(events)).event == "workflow.snapshot"
        await watch(alice, (await execute(alice, workflow)).headers["location"])
        own = (await execute(bob, workflow)).headers["location"].rpartition("/")[2]
        assert json.loads((await anext(events)).data)["runId"] == own


async def test_a_batch_starts_what_the_limits_of_the_key_allow_and_tells_why_not_the_rest(gateway, services):
    async with key_of(gateway, f"batch-{uuid4().hex}", concurrentRuns=2) as (owner, _):
        graph = {"nodes": [{"id": "ask", "type": "llm", "params": {"userMessage": "?"}}], "edges": []}
        path = f"/api/workflows/{(await keep(owner, graph))['id']}/execute-batch"
        body, headers = {"inputs": [{}] * 3}, {"Idempotency-Key": "three"}
        replies = [(await owner.post(path, json=body, headers=headers)).json() for _ in range(2)]
        for reply in replies:
            assert (reply["accepted"], reply["refused"]) == (2, 1), reply
            assert reply["results"][2]["problems"][0]["code"] == "too_many_runs"
        for result in replies[0]["results"][:2]:
            run = result["run"]
            assert run["owner"].startswith("batch-")
            assert (await owner.post(f"/api/workflows/runs/{run['runId']}/cancel")).status_code == 202


async def test_the_outputs_of_others_are_not_reused_for_a_part_of_a_workflow(alice, bob, services):
    workflow_id = str(uuid4())
    workflow = await keep(alice, id=workflow_id)
    await watch(alice, (await execute(alice, workflow)).headers["location"])
    await keep(bob, id=workflow_id)
    answer = await execute(bob, workflow, scope="single", nodes=["out"], inputs={})
    problem(answer, 422, "missing_output")


async def test_a_key_that_was_revoked_or_has_expired_lets_nobody_in(gateway):
    async with key_of(gateway, "carol") as (carol, key):
        assert (await carol.get("/api/workflows")).status_code == 200
        revoked = await gateway.client.delete(f"/api/keys/{key['keyId']}")
        assert (revoked.status_code, "revokedAt" in revoked.json()) == (200, True)
        await until(lambda: is_shut_out(carol))
    problem(await gateway.client.delete(f"/api/keys/{UUID(int=0)}"), 404, "key_not_found")


async def test_the_key_that_is_a_setting_is_not_revoked(client):
    keys = (await client.get("/api/keys", params={"limit": 200})).json()["keys"]
    (initial,) = (key for key in keys if key["name"] == "initial")
    problem(await client.delete(f"/api/keys/{initial['keyId']}"), 409, "initial_key")
    assert (await client.get("/api/keys")).status_code == 200


async def is_shut_out(client):
    return (await client.get("/api/workflows")).status_code == 401


async def test_a_key_is_shown_once(gateway, stack):
    async with key_of(gateway, "dave") as (_, key):
        listed = (await gateway.client.get("/api/keys")).json()["keys"]
        (found,) = (item for item in listed if item["keyId"] == key["keyId"])
        assert {**found, "key": key["key"]} == key
        assert len(key["key"]) == len("weft_") + 43


async def test_two_gateways_share_the_rate_of_a_key(gateway, stack):
    async with key_of(gateway, "erin", requestsPerMinute=5) as (erin, _), gateway_process(stack) as other:
        paths = [f"{base}/api/workflows" for base in (gateway.client.base_url, other.client.base_url) for _ in range(3)]
        answers = [await erin.get(path) for path in paths]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429]
        problem(answers[-1], 429, "rate_limited")
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 12


async def test_a_key_has_so_many_runs_under_way_and_no_more(gateway, services):
    async with key_of(gateway, "frank", concurrentRuns=1) as (frank, _):
        graph = {"nodes": [{"id": "ask", "type": "llm", "params": {"userMessage": "?"}}], "edges": []}
        start = f"/api/workflows/{(await keep(frank, graph))['id']}/execute"
        first = await frank.post(start, json={"triggerRunId": "first"})
        assert first.status_code == 202
        again = await frank.post(start, json={"triggerRunId": "first"})
        assert (again.status_code, again.json()["runId"]) == (202, first.json()["runId"])
        refused = await frank.post(start)
        problem(refused, 429, "too_many_runs")
        assert refused.headers["retry-after"] == "5"
        assert (await frank.post(f"{first.headers['location']}/cancel")).status_code == 202

        async def is_let_in():
            return (await frank.post(start)).status_code == 202

        await until(is_let_in)


async def test_a_budget_of_the_day_bounds_a_run_and_then_refuses_the_next(gateway, services, stack):
    async with key_of(gateway, "grace", dailyBudget=0.5) as (grace, key):
        _, location = await completed_run(grace)
        replayed = await grace.post(f"{location}/replay", json={})
        assert replayed.status_code == 202
        await spend(stack, key["keyId"], 0.5)
        problem(await grace.post(f"{location}/replay", json={}), 403, "budget_exhausted")


async def test_a_batch_under_a_budget_is_started_once_and_refused_as_a_whole_when_it_is_spent(gateway, services, stack):
    async with key_of(gateway, f"heidi-{uuid4().hex}", dailyBudget=0.5) as (heidi, key):
        path = f"/api/workflows/{(await keep(heidi))['id']}/execute-batch"
        body, headers = {"inputs": [{"photo": await upload(heidi)}] * 3}, {"Idempotency-Key": "three"}
        first = (await heidi.post(path, json=body, headers=headers)).json()
        assert (first["accepted"], first["refused"]) == (3, 0), first
        await spend(stack, key["keyId"], 0.5)
        again = (await heidi.post(path, json=body, headers=headers)).json()
        ids = [[result["run"]["runId"] for result in reply["results"]] for reply in (first, again)]
        assert ids[0] == ids[1]
        refused = (await heidi.post(path, json=body)).json()
        assert [result["problems"][0]["code"] for result in refused["results"]] == ["budget_exhausted"] * 3


async def spend(stack, key_id, cost):
    """Record a run of today as the tracker would have told it: crops cost nothing, and no model answers here."""
    connection = await asyncpg.connect(stack.database_url)
    await connection.execute(
        "INSERT INTO gateway.key_run (run_id, key_id, ended, cost) VALUES ($1, $2, true, $3)", uuid4(), key_id, cost
    )
    await connection.close()


async def test_asset_references_are_the_same_for_everybody_who_has_the_picture(alice, bob):
    assert await upload(alice) == await upload(bob)
