"""Two gateways behave as one: for who watches, who waits, who starts many runs, and who asks for what was refused."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest
from tests.integration.gateway_client import (
    GRAPH,
    execute,
    keep,
    picture,
    problem,
    recorded,
    until,
    upload,
    watch,
)
from tests.integration.gateway_fixtures import gateway_process

from crop_worker.main import create_service as crop_worker
from orchestrator.main import create_service as orchestrator
from shared.client import AsyncClient, BatchRequest, Client, ExecuteRequest
from shared.contracts.commands import RunStart
from shared.contracts.errors import InvalidInputError
from shared.contracts.events import RunFinished, RunStarted
from shared.contracts.graph import Node, WorkflowGraph
from shared.contracts.owners import LOCAL_OWNER
from shared.contracts.queries import RunPage, RunView
from shared.contracts.values import ImageValue, TextValue, Value

RUNS = "/api/workflows/runs"
HELLO = {
    "nodes": [
        {"id": "name", "type": "text"},
        {"id": "out", "type": "response"},
    ],
    "edges": [{"source": "name", "target": "out", "targetHandle": "name"}],
}


@pytest.fixture
async def other(stack, gateway):
    async with gateway_process(stack) as other:
        yield other


@pytest.fixture
def key(stack):
    """The key of who administers."""
    return stack.api_key.get_secret_value()


async def ids_and_kinds(client, location, last_id=None):
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with asyncio.timeout(30), client.sse(f"{location}/events", headers=headers) as source:
        if source.response.status_code == 204:
            return []
        return [(event.id, event.event) async for event in source]


async def test_what_one_gateway_told_the_other_does_not_tell_again(client, other, services):
    workflow = await keep(client)
    earlier = (await execute(client, workflow)).headers["location"]
    before = (await ids_and_kinds(client, earlier))[-1][0].removesuffix(".end")
    location = (await execute(client, workflow)).headers["location"]
    await watch(client, location)
    whole = await ids_and_kinds(client, location, before)
    assert await ids_and_kinds(other.client, location, before) == whole
    kinds = [kind for _, kind in whole]
    assert kinds[-1] == "run.finished"
    for place, (last_id, _) in enumerate(whole[:-1]):
        gateway = other.client if place % 2 else client
        assert await ids_and_kinds(gateway, location, last_id) == whole[place + 1 :]
    assert await ids_and_kinds(other.client, location, whole[-1][0]) == []


async def test_a_run_is_known_to_both_before_anybody_has_taken_it_in(client, other, tracker_service):
    accepted = await execute(client, await keep(client))
    at_other = (await other.client.get(accepted.headers["location"])).json()
    assert (at_other["status"], at_other["runId"]) == ("queued", accepted.json()["runId"])
    problem(await other.client.get(f"{RUNS}/{uuid4()}"), 404, "run_not_found")


async def test_a_refusal_is_known_to_both_and_after_a_restart(client, stack, services, publisher, other):
    graph = WorkflowGraph(nodes=(Node(id="a", type="text"),))
    taken = RunStart(run_id=uuid4(), graph=graph, trigger_run_id="taken", owner=LOCAL_OWNER)
    await publisher.publish(taken)
    await until_known(client, taken.run_id)
    location = (await execute(client, await keep(client), triggerRunId="taken")).headers["location"]
    await watch(client, location)
    async with gateway_process(stack) as third:
        for gateway in (client, other.client, third.client):

            async def is_refused(gateway=gateway):
                return (await gateway.get(location)).json()["status"] == "failed"

            await until(is_refused)
            problems = (await gateway.get(location)).json()["problems"]
            assert [item["code"] for item in problems] == ["trigger_conflict"]


async def until_known(client, run_id):
    async def is_known():
        return (await client.get(f"{RUNS}/{run_id}")).status_code == 200

    await until(is_known)


async def test_who_watches_a_workflow_is_told_of_all_its_runs_wherever_they_are_started(client, other, services):
    workflow = await keep(client, HELLO)
    path = f"/api/workflows/{workflow['id']}/events"
    started, ended, last_id = [], set(), ""
    async with asyncio.timeout(30), other.client.sse(path) as source:
        async for event in source:
            if event.event == "workflow.snapshot":
                assert event.json() == {"runs": []}
                for gateway in (client, other.client, client):
                    answer = await gateway.post(f"/api/workflows/{workflow['id']}/execute")
                    started.append(answer.json()["runId"])
            elif event.event == "run.finished":
                ended.add(event.json()["runId"])
                last_id = event.id
                if len(ended) == 3:
                    break
    assert ended == set(started)
    async with asyncio.timeout(30), client.sse(path, headers={"Last-Event-ID": last_id}) as source:
        await client.post(f"/api/workflows/{workflow['id']}/execute")
        kinds = []
        async for event in source:
            kinds.append(event.event)
            if event.event == "run.finished":
                assert event.json()["runId"] not in ended
                break
    assert "workflow.snapshot" not in kinds


async def test_waiting_ends_with_the_run_or_with_the_time(client, stack, tracker_service):
    async with orchestrator(stack):
        workflow, picture = await keep(client), await upload(client)
        path, body = f"/api/workflows/{workflow['id']}/execute", {"inputs": {"photo": picture}}
        goes_on = await client.post(path, json=body, params={"wait": 0.2})
        assert goes_on.status_code == 202
        assert goes_on.json()["status"] in {"queued", "running"}
        async with crop_worker(stack):
            ended = await client.post(path, json=body, params={"wait": 30})
        assert (ended.status_code, ended.json()["status"]) == (200, "completed")
        assert ended.json()["result"]["fields"]["left"]["type"] == "image"
        problem(await client.post(path, json=body, params={"wait": 1_000}), 422, "invalid_request")


async def test_tags_and_metadata_go_with_the_start_within_their_limits(client):
    workflow = await keep(client, HELLO)
    path = f"/api/workflows/{workflow['id']}/execute"
    good = await client.post(path, json={"tags": ["a", "b"], "metadata": {"order": "7"}})
    assert good.status_code == 202
    problem(await client.post(path, json={"tags": [str(n) for n in range(21)]}), 422, "invalid_request")
    problem(await client.post(path, json={"metadata": {"x": 20_000 * "y"}}), 422, "invalid_request")


async def test_each_of_many_runs_has_its_own_result(client, services):
    graph = {
        "nodes": [
            {"id": "form", "type": "request_inputs", "params": {"fields": [{"name": "who", "type": "text"}]}},
            {"id": "out", "type": "response"},
        ],
        "edges": [{"source": "form", "sourceHandle": "who", "target": "out", "targetHandle": "who"}],
    }
    workflow = await keep(client, graph)
    path = f"/api/workflows/{workflow['id']}/execute-batch"
    inputs = [{"who": {"type": "text", "text": "a"}}, {}, {"who": {"type": "text", "text": "c"}}]
    answer = await client.post(path, json={"inputs": inputs})
    reply = answer.json()
    assert (answer.status_code, reply["accepted"], reply["refused"]) == (202, 2, 1)
    assert reply["results"][1]["problems"][0]["code"] == "missing_input"
    for place, text in ((0, "a"), (2, "c")):
        location = f"{RUNS}/{reply['results'][place]['run']['runId']}"
        run = await recorded(client, location)
        assert run["result"]["fields"]["who"]["text"] == text
    problem(await client.post(path, json={"inputs": []}), 422, "invalid_request")
    problem(await client.post(path, json={"inputs": [{}] * 1_001}), 422, "invalid_request")


async def test_a_batch_under_a_key_is_started_once_at_whichever_gateway(client, other, services):
    workflow = await keep(client, HELLO)
    path, headers = f"/api/workflows/{workflow['id']}/execute-batch", {"Idempotency-Key": "mine"}
    body = {"inputs": [{"name": {"type": "text", "text": str(number)}} for number in range(100)]}
    answers = await asyncio.gather(
        *(gateway.post(path, json=body, headers=headers) for gateway in (client, other.client) * 3)
    )
    assert {answer.status_code for answer in answers} == {202}
    named = {tuple(result["run"]["runId"] for result in answer.json()["results"]) for answer in answers}
    assert len(named) == 1

    async def all_are_known():
        found = (await client.get(f"/api/workflows/{workflow['id']}/runs", params={"limit": 200})).json()["runs"]
        return {run["runId"] for run in found} == set(*named)

    await until(all_are_known)
    changed = {"inputs": [*body["inputs"][:99], {}]}
    reply = (await other.client.post(path, json=changed, headers=headers)).json()
    assert (reply["accepted"], reply["refused"]) == (99, 1)
    assert reply["results"][99]["problems"][0]["code"] == "trigger_conflict"


async def test_the_client_does_what_the_api_can(gateway, services, key):
    async with AsyncClient(str(gateway.client.base_url), api_key=key) as client:
        asset = await client.upload(picture(), "image/png")
        workflow = await client.save_workflow(GRAPH, name="halves")
        assert (await client.validate_workflow(GRAPH)).valid
        request = ExecuteRequest(inputs={"photo": ImageValue(asset=asset)}, tags=("a",))
        run = await client.execute(workflow.id, request)
        updates = [update async for update in client.follow(run.run_id)]
        assert isinstance(updates[0], RunView)
        assert isinstance(updates[-1], RunFinished | RunView)
        assert (await client.wait(run.run_id)).status == "completed"
        assert (await client.execute(workflow.id, request)).run_id == run.run_id
        assert (await client.replay(run.run_id)).run_id != run.run_id
        assert (await client.resume(run.run_id)).resumed_from == run.run_id
        assert (await client.why(run.run_id)).nodes == ()
        assert {entry.node_id for entry in (await client.timeline(run.run_id)).entries} == {"photo", "half", "out"}
        assert "half" in {shown.node_id for shown in (await client.pictures(run.run_id)).assets}
        assert (await client.statistics(workflow.id)).total.completed >= 1
        assert {"crop_image", "llm"} <= {kind.name for kind in (await client.node_types()).node_types}
        assert (await client.import_workflow(await client.export_workflow(workflow.id))).id != workflow.id
        with pytest.raises(InvalidInputError, match="run_finished"):
            await client.cancel(run.run_id)
        updated = await client.update_workflow(workflow.id, HELLO, version=1)
        assert (await client.get_workflow(workflow.id)).version == updated.version == 2
        inputs: tuple[dict[str, Value], ...] = tuple({"name": TextValue(text=text)} for text in "ab")
        reply = await client.execute_batch(workflow.id, BatchRequest(inputs=inputs), key="k")
        assert reply.accepted == 2
        async for update in client.follow_workflow(workflow.id):
            assert isinstance(update, RunPage)
            break
        assert (await client.list_workflows()).workflows[0].id == workflow.id
        assert (await client.export_workflow(workflow.id))["name"] == "halves"
        await client.delete_workflow(workflow.id)
        assert len((await client.runs(workflow.id)).runs) >= 3


async def test_the_client_that_blocks_does_the_same(gateway, services, key):
    def use():
        with Client(str(gateway.client.base_url), api_key=key) as client:
            workflow = client.save_workflow(HELLO)
            run = client.execute(workflow.id)
            updates = list(client.follow(run.run_id))
            ended = client.wait(run.run_id, timeout=30)
            with pytest.raises(InvalidInputError, match="workflow_not_found"):
                client.get_workflow(uuid4())
            return updates, ended

    updates, ended = await asyncio.to_thread(use)
    assert isinstance(updates[0], RunView)
    assert ended.status == "completed"


async def test_the_client_follows_through_the_end_of_its_gateway(stack, gateway, tracker_service, key):
    """The gateway is killed and started again at the same address, behind a client that follows."""
    address, told = gateway.client.base_url, []
    async with orchestrator(stack), AsyncExitStack() as later, AsyncClient(str(address), api_key=key) as client:
        workflow = await client.save_workflow(GRAPH)
        asset = await client.upload(picture(), "image/png")
        run = await client.execute(workflow.id, ExecuteRequest(inputs={"photo": ImageValue(asset=asset)}))
        async for update in client.follow(run.run_id):
            told.append(update)
            if gateway.process.returncode is None and is_queued(update):
                os.kill(gateway.process.pid, signal.SIGKILL)
                await gateway.process.wait()
                again = stack.model_copy(update={"http_port": address.port})
                await later.enter_async_context(gateway_process(again))
                await later.enter_async_context(crop_worker(stack))
    kinds = [getattr(update, "kind", "run.snapshot") for update in told]
    assert [kinds.count(kind) for kind in ("run.snapshot", "run.finished")] == [1, 1]
    assert [update.node_id for update in told if getattr(update, "kind", "") == "node.succeeded"] == ["half", "out"]


def is_queued(update):
    """Tell whether the update says that the job is with its queue, be it a snapshot or the run's start."""
    return isinstance(update, RunView | RunStarted) and any(node.status == "queued" for node in update.nodes or ())
