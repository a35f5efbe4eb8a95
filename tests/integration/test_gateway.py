"""The gateway on a real broker and database, with the real services behind it, and without them."""

import asyncio
import os
import sys
from contextlib import suppress
from uuid import uuid4

import httpx2
import pytest
from aio_pika.abc import AbstractRobustChannel
from anyio import move_on_after
from tests.integration.gateway_client import (
    GRAPH,
    execute,
    keep,
    messages_in,
    picture,
    problem,
    recorded,
    timed,
    until,
    watch,
    watching,
)
from tests.integration.gateway_fixtures import environment, gateway_on_line, gateway_process
from tests.integration.line import Line

from crop_worker.main import create_service as crop_worker
from gateway.tracker_client import TrackerClient
from orchestrator.main import create_service as orchestrator
from shared.messaging.connection import connect
from shared.messaging.requests import Requests
from shared.topology import COMMANDS_QUEUE

NO_RUN = "/api/workflows/runs/00000000-0000-0000-0000-000000000001"


async def test_a_workflow_is_run_from_upload_to_result(client, services):
    workflow = await keep(client, name="halves")
    accepted = await execute(client, workflow, triggerRunId="mine")
    assert accepted.status_code == 202
    assert (accepted.json()["status"], accepted.json()["totalNodes"]) == ("queued", 3)
    location = accepted.headers["location"]
    events = await watch(client, location)
    assert events[0][0] == "run.snapshot"
    assert events[-1][1]["status"] == "completed"
    half = events[-1][1]["result"]["fields"]["left"]["asset"]
    assert (half["width"], half["height"]) == (100, 100)

    run = await recorded(client, location)
    assert (run["triggerRunId"], run["workflowName"], run["successfulNodes"]) == ("mine", "halves", 3)
    assert {node["nodeId"]: node["status"] for node in run["nodes"]} == dict.fromkeys(
        ["photo", "half", "out"], "success"
    )
    assert await watch(client, location) == [("run.snapshot", run)]
    for path in ("/api/workflows/runs", f"/api/workflows/{workflow['id']}/runs"):
        runs = (await client.get(path)).json()["runs"]
        assert [item["runId"] for item in runs] == [run["runId"]]


async def test_a_run_is_known_from_its_acceptance_on_and_watched_through(client, stack, tracker_service):
    location = (await execute(client, await keep(client))).headers["location"]
    assert (await client.get(location)).json()["status"] == "queued"
    async with watching(client, location) as events:
        kind, snapshot = await anext(events)
        assert (kind, snapshot["status"], snapshot["nodes"]) == ("run.snapshot", "queued", [])
        async with orchestrator(stack), crop_worker(stack):
            kinds = [kind async for kind, _ in events if kind != "node.started"]  # told of a crop that takes its time
    assert kinds == ["run.started", "node.succeeded", "node.succeeded", "run.finished"]


async def test_the_same_run_is_started_once(client, services):
    workflow, run_id = await keep(client), str(uuid4())
    answers = await asyncio.gather(*(execute(client, workflow, runId=run_id) for _ in range(5)))
    assert {(answer.status_code, answer.json()["runId"]) for answer in answers} == {(202, run_id)}
    await recorded(client, answers[0].headers["location"])
    assert len((await client.get("/api/workflows/runs")).json()["runs"]) == 1


async def test_a_workflow_is_kept_once_under_its_id(client):
    workflow_id = str(uuid4())
    first = await keep(client, id=workflow_id)
    assert (first["version"], first["name"]) == (1, "untitled")
    again = await client.post("/api/workflows", json={"id": workflow_id, "graph": GRAPH})
    assert (again.status_code, again.json()) == (200, first)
    other = await client.post("/api/workflows", json={"id": workflow_id, "graph": {**GRAPH, "name": "other"}})
    problem(other, 409, "workflow_conflict")
    assert (await client.get(f"/api/workflows/{workflow_id}")).json() == first


async def test_parallel_requests_keep_one_workflow(client):
    body = {"id": str(uuid4()), "graph": GRAPH}
    answers = await asyncio.gather(*(client.post("/api/workflows", json=body) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [201]


async def test_workflows_are_listed_newest_first(client):
    kept = [await keep(client, name=name) for name in ("first", "second", "third")]
    listed = (await client.get("/api/workflows", params={"limit": 2})).json()["workflows"]
    assert [item["id"] for item in listed] == [kept[2]["id"], kept[1]["id"]]
    assert listed[0].keys() == {"id", "version", "name", "createdAt"}


async def test_what_does_not_exist_is_not_found(client, tracker_service):
    nobody = f"/api/workflows/{uuid4()}"
    problem(await client.get(nobody), 404, "workflow_not_found")
    problem(await client.get(f"{nobody}/runs"), 404, "workflow_not_found")
    problem(await client.post(f"{nobody}/execute"), 404, "workflow_not_found")
    problem(await client.get(NO_RUN), 404, "run_not_found")
    problem(await client.get(f"{NO_RUN}/events"), 404, "run_not_found")


async def test_a_run_without_its_inputs_is_not_started(client, stack):
    workflow = await keep(client)
    answer = await client.post(f"/api/workflows/{workflow['id']}/execute")
    problem(answer, 422, "missing_input")
    assert answer.json()["problems"][0]["nodeId"] == "photo"
    assert await messages_in(stack, COMMANDS_QUEUE) == 0


@pytest.mark.parametrize("announced", [True, False])
async def test_a_client_that_sends_too_much_hears_of_it(client, announced):
    data = picture() + bytes(30 * 1024 * 1024)

    async def unannounced():
        for start in range(0, len(data), 65_536):
            yield data[start : start + 65_536]

    for _ in range(5):
        answer = await client.post("/api/uploads", content=data if announced else unannounced())
        problem(answer, 413, "file_too_large")


async def test_a_client_that_never_stops_sending_is_cut_off(client):
    async def endless():
        yield picture()
        while True:
            yield bytes(1024 * 1024)

    async with asyncio.timeout(30):
        with suppress(httpx2.TransportError):
            problem(await client.post("/api/uploads", content=endless()), 413, "file_too_large")
    assert await is_up(client)


async def test_a_client_that_goes_away_leaves_nothing_and_disturbs_nobody(gateway, services):
    client = gateway.client
    location = await stuck_run(client)

    async def watchers():
        metrics = (await client.get("/metrics")).text
        return next(float(line.split()[1]) for line in metrics.splitlines() if line.startswith("weft_watchers "))

    async with watching(client, location) as events:
        await anext(events)
        assert await watchers() == 1

    async def nobody_watches():
        return await watchers() == 0

    await until(nobody_watches)
    assert (await client.get(location)).status_code == 200


async def stuck_run(client):
    """Start a run that waits for a worker that nobody runs."""
    graph = {"nodes": [{"id": "ask", "type": "llm", "params": {"userMessage": "?"}}], "edges": []}
    workflow = await keep(client, graph)
    return (await client.post(f"/api/workflows/{workflow['id']}/execute")).headers["location"]


async def test_questions_that_are_given_up_do_not_disturb_others(stack, tracker_service):
    async with connect(stack.amqp_url, name="test", patience=5) as connection:
        channel = await connection.channel(on_return_raises=True)
        assert isinstance(channel, AbstractRobustChannel)
        tracker = TrackerClient(await Requests.start(channel, asker="test"))
        for tenth_of_ms in range(30):
            with move_on_after(tenth_of_ms / 10_000):
                await tracker.get_run(uuid4())
        assert await tracker.get_run(uuid4()) is None


async def test_stopping_ends_open_streams(gateway, services):
    location = await stuck_run(gateway.client)
    async with watching(gateway.client, location) as events:
        await anext(events)
        assert await gateway.stop() == 0
        assert "run.finished" not in [kind async for kind, _ in events]


async def test_it_stops_while_the_broker_is_away(stack, empty_tables):
    async with gateway_on_line(stack, "amqp_url") as (line, gateway):
        await line.cut()
        assert await gateway.stop() == 0


async def test_without_the_tracker_runs_start_but_cannot_be_seen(client):
    accepted = await execute(client, await keep(client))
    assert accepted.status_code == 202
    answer = await timed(client.get(accepted.headers["location"]))
    problem(answer, 503, "no_answer")
    assert answer.headers["retry-after"] == "2"


async def is_up(client):
    return (await client.get("/ready")).status_code == 200


BREAKS = pytest.mark.parametrize(
    ("break_line", "mend_line"),
    [pytest.param(Line.cut, Line.restore, id="cut"), pytest.param(Line.freeze, Line.thaw, id="frozen")],
)


@BREAKS
async def test_without_the_database_the_answer_is_503_until_it_is_back(stack, empty_tables, break_line, mend_line):
    async with gateway_on_line(stack, "database_url") as (line, gateway):
        await break_line(line)
        answer = await timed(gateway.client.post("/api/workflows", json={"graph": GRAPH}))
        problem(answer, 503, "database_unavailable")
        assert answer.headers["retry-after"] == "2"
        ready = await timed(gateway.client.get("/ready"))
        assert (ready.status_code, ready.json()["failing"]) == (503, ["database"])
        await mend_line(line)
        await until(lambda: is_up(gateway.client))
        await keep(gateway.client)


@BREAKS
async def test_without_the_broker_the_answer_is_503_until_it_is_back(stack, empty_tables, break_line, mend_line):
    async with gateway_on_line(stack, "amqp_url") as (line, gateway):
        workflow = await keep(gateway.client)
        await break_line(line)
        answer = await timed(execute(gateway.client, workflow))
        problem(answer, 503, "publish_failed")
        assert answer.headers["retry-after"] == "2"
        problem(await timed(gateway.client.get(NO_RUN)), 503, "no_answer")
        ready = await timed(gateway.client.get("/ready"))
        assert (ready.status_code, ready.json()["failing"]) == (503, ["broker"])
        await mend_line(line)
        await until(lambda: is_up(gateway.client))

        async def is_accepted():
            return (await execute(gateway.client, workflow)).status_code == 202

        await until(is_accepted)


async def test_what_was_refused_while_the_broker_was_away_is_not_started_later(stack, services):
    async with gateway_on_line(stack, "amqp_url") as (line, gateway):
        workflow = await keep(gateway.client)
        await line.cut()
        problem(await timed(execute(gateway.client, workflow)), 503, "publish_failed")
        await line.restore()
        await until(lambda: is_up(gateway.client))
        accepted = await execute(gateway.client, workflow)
        while accepted.status_code != 202:
            accepted = await execute(gateway.client, workflow)
        await recorded(gateway.client, accepted.headers["location"])
        runs = (await gateway.client.get("/api/workflows/runs")).json()["runs"]
        assert [run["runId"] for run in runs] == [accepted.json()["runId"]]


async def until_queued(events):
    async for kind, data in events:
        if kind in {"run.snapshot", "run.started"} and any(node["status"] == "queued" for node in data["nodes"]):
            return


async def test_a_stream_tells_the_end_that_came_while_the_broker_was_away(stack, tracker_service):
    async with orchestrator(stack), gateway_on_line(stack, "amqp_url") as (line, gateway):
        location = (await execute(gateway.client, await keep(gateway.client))).headers["location"]
        async with watching(gateway.client, location) as events:
            await until_queued(events)
            await line.cut()
            async with gateway_process(stack) as other, crop_worker(stack):
                assert (await watch(other.client, location))[-1][1]["status"] == "completed"
            await line.restore()
            told = [event async for event in events]
    # By its event or by a snapshot: whichever is known first when the broker is back.
    assert told[-1][0] in {"run.finished", "run.snapshot"}
    assert told[-1][1]["status"] == "completed"
    assert [data.get("status") for _, data in told].count("completed") == 1


async def test_a_stream_survives_the_loss_of_its_connection(stack, tracker_service):
    async with orchestrator(stack), gateway_on_line(stack, "amqp_url") as (line, gateway):
        location = (await execute(gateway.client, await keep(gateway.client))).headers["location"]
        async with watching(gateway.client, location) as events:
            await until_queued(events)
            await line.cut()
            await line.restore()
            async with crop_worker(stack):
                kinds = [kind async for kind, _ in events]
    assert kinds[-1] in {"run.finished", "run.snapshot"}
    assert "node.succeeded" in kinds


@pytest.mark.parametrize("variable", ["WEFT_AMQP_URL", "WEFT_DATABASE_URL", "WEFT_ASSETS_URL"])
async def test_it_does_not_start_without_what_it_needs(stack, tmp_path, variable):
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    wrong = {
        "WEFT_AMQP_URL": "amqp://127.0.0.1:1/",
        "WEFT_DATABASE_URL": "postgresql://127.0.0.1:1/weft",
        "WEFT_ASSETS_URL": f"{blocked.as_uri()}/assets",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway"),
        env={**os.environ, **environment(stack), "WEFT_STARTUP_TIMEOUT": "1", variable: wrong[variable]},
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(20):
        _, errors = await process.communicate()
    assert process.returncode in {2, 69}
    assert variable in errors.decode().splitlines()[-1]
    assert "Traceback" not in errors.decode()
