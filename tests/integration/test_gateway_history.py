"""What the gateway tells of the past: the real run tracker answers, from what it was told over the broker."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from tests.integration.gateway_client import execute, keep, problem, until
from tests.unit.histories import EVENTS, RUN_ID, STARTED, WORKFLOW_ID, about, at

from shared.contracts.commands import RunStart
from shared.contracts.errors import Problem
from shared.contracts.events import NodeFailed, NodeSucceeded, NodeSummary, RunFinished, RunStarted
from shared.contracts.graph import Node, WorkflowGraph
from shared.contracts.states import NodeStatus, RunStatus
from shared.contracts.values import TextValue

RUNS = "/api/workflows/runs"
GRAPH = WorkflowGraph(nodes=(Node(id="n", type="llm", params={"userMessage": "?"}),))
NOW = datetime.now(UTC)


def a_run(number, *, workflow_id=WORKFLOW_ID, failed=False, **wishes):
    """Events of a run that began `number` seconds after another and took two."""
    run_id, began = UUID(int=number), NOW - timedelta(hours=1) + timedelta(seconds=number)
    command = RunStart(run_id=run_id, graph=GRAPH, workflow_id=workflow_id, **wishes)
    node = NodeSummary(node_id="n", node_type="llm", status=NodeStatus.PENDING)
    yield RunStarted(
        run_id=run_id,
        at=began,
        workflow_id=workflow_id,
        trigger_run_id=command.trigger_run_id,
        command=command,
        nodes=(node,),
    )
    if failed:
        error = Problem(code="llm_refused", message="the model says no")
        yield NodeFailed(run_id=run_id, node_id="n", node_type="llm", at=began, error=error)
    yield RunFinished(
        run_id=run_id,
        at=began + timedelta(seconds=2),
        status=RunStatus.FAILED if failed else RunStatus.COMPLETED,
        total_nodes=1,
        successful_nodes=int(not failed),
        failed_nodes=int(failed),
        cost=number / 100,
    )


@pytest.fixture
def tell(publisher, client, tracker_service):
    """Publish events, and return once the tracker has merged them all."""

    async def tell(events):
        ends = []
        for event in events:
            await publisher.publish(event)
            ends += [event.run_id] if isinstance(event, RunFinished) else []

        async def all_known():
            runs = [await client.get(f"{RUNS}/{run_id}") for run_id in ends]
            return all(run.status_code == 200 and run.json().get("finishedAt") for run in runs)

        await until(all_known)

    return tell


@pytest.fixture
async def seven_runs(tell):
    failing = {3, 6}
    await tell(
        [event for number in range(1, 8) for event in a_run(number, failed=number in failing, tags=(f"t{number}",))]
    )


async def listed(client, path=RUNS, **query):
    answer = await client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return [UUID(run["runId"]).int for run in answer.json()["runs"]], answer.json().get("nextCursor")


async def test_runs_are_listed_page_by_page(client, seven_runs):
    first, cursor = await listed(client, limit=3)
    second, cursor = await listed(client, limit=3, cursor=cursor)
    third, end = await listed(client, limit=3, cursor=cursor)
    assert (first, second, third, end) == ([7, 6, 5], [4, 3, 2], [1], None)
    assert (await listed(client, f"/api/workflows/{WORKFLOW_ID}/runs", limit=2))[0] == [7, 6]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"status": ["failed", "cancelled"]}, [6, 3]),
        ({"tag": "t4"}, [4]),
        ({"minCost": 0.03, "maxCost": 0.05}, [5, 4, 3]),
        ({"error": "Says NO"}, [6, 3]),
        ({"since": (NOW - timedelta(hours=1) + timedelta(seconds=6)).isoformat()}, [7, 6]),
        ({"until": "1999-12-31T23:59:59Z"}, []),
    ],
)
async def test_runs_are_listed_by_what_is_known_of_them(client, seven_runs, query, expected):
    assert (await listed(client, **query))[0] == expected


@pytest.mark.parametrize(
    "query",
    [
        {"status": "unheard-of"},
        {"since": "yesterday"},
        {"since": "2026-01-01T00:00:00"},
        {"since": "0001-01-01T00:00:00Z"},
        {"minCost": "nan"},
        {"tag": "a\0b"},
        {"error": ""},
        {"limit": 0},
    ],
)
async def test_a_filter_that_makes_no_sense_is_refused(client, query):
    problem(await client.get(RUNS, params=query), 422, "invalid_request")


@pytest.mark.parametrize("cursor", ["x", "%%%", "e30", "eyJjcmVhdGVkQXQiOiIxIn0"])
async def test_a_cursor_that_was_never_given_out_is_refused(client, cursor):
    problem(await client.get(RUNS, params={"cursor": cursor}), 422, "invalid_cursor")


async def test_a_run_is_found_by_its_callers_name(client, tell):
    await tell(a_run(1, trigger_run_id="order/17 ä"))
    answer = await client.get(f"{RUNS}/by-trigger/order/17 ä")
    assert (answer.status_code, UUID(answer.json()["runId"]).int) == (200, 1)
    assert [node["nodeId"] for node in answer.json()["nodes"]] == ["n"]
    problem(await client.get(f"{RUNS}/by-trigger/order/18"), 404, "run_not_found")


async def test_a_run_is_found_by_its_callers_name_before_anybody_has_taken_it_in(client, tracker_service):
    accepted = (await execute(client, await keep(client), triggerRunId="order 19")).json()
    found = (await client.get(f"{RUNS}/by-trigger/order 19")).json()
    assert (found["runId"], found["status"]) == (accepted["runId"], "queued")


async def test_a_timeline_tells_of_every_attempt(client, tell):
    await tell(EVENTS)
    timeline = (await client.get(f"{RUNS}/{RUN_ID}/timeline")).json()
    limited = [entry for entry in timeline["entries"] if entry["nodeId"] == "limited"]
    assert [(entry["attempt"], entry["status"], entry["queueSeconds"]) for entry in limited] == [
        (1, "failed", 1.0),
        (2, "success", 1.0),
    ]
    run = (await client.get(f"{RUNS}/{RUN_ID}")).json()
    attempts = next(node["attempts"] for node in run["nodes"] if node["nodeId"] == "limited")
    assert [(attempt["attempt"], attempt.get("error", {}).get("code")) for attempt in attempts] == [
        (1, "llm_rate_limited"),
        (2, None),
    ]
    problem(await client.get(f"{RUNS}/{uuid4()}/timeline"), 404, "run_not_found")


async def test_statistics_tell_how_the_runs_of_a_workflow_went(client, seven_runs):
    statistics = (await client.get(f"/api/workflows/{WORKFLOW_ID}/statistics")).json()
    total = statistics["total"]
    assert (total["runs"], total["completed"], total["failed"], total["p50Seconds"]) == (7, 5, 2, 2.0)
    assert total["failureRate"] == pytest.approx(2 / 7)
    assert total["cost"] == pytest.approx(0.28)
    assert sum(day["runs"] for day in statistics["days"]) == 7


async def test_statistics_of_no_workflow_or_of_too_long_a_time_are_refused(client, tracker_service):
    path = f"/api/workflows/{uuid4()}/statistics"
    problem(await client.get(path), 404, "workflow_not_found")
    problem(await client.get(path, params={"since": "2020-01-01T00:00:00Z"}), 422, "invalid_period")
    kept = await keep(client)
    empty = (await client.get(f"/api/workflows/{kept['id']}/statistics")).json()
    assert (empty["total"]["runs"], empty["days"]) == (0, [])


MEGABYTE = "x" * 1_000_000
MANY = 30  # nodes whose outputs together are far more than a message may have


def a_large_run():
    """Events of a run with so much output that no single message could hold it."""
    ids = [f"n{number}" for number in range(MANY)]
    graph = WorkflowGraph(nodes=tuple(Node(id=node_id, type="llm", params={"userMessage": "?"}) for node_id in ids))
    pending = tuple(NodeSummary(node_id=node_id, node_type="llm", status=NodeStatus.PENDING) for node_id in ids)
    yield STARTED.model_copy(update={"command": RunStart(run_id=RUN_ID, graph=graph), "nodes": pending})
    for node_id in ids:
        yield NodeSucceeded(**about(node_id), at=at(1), output=TextValue(text=MEGABYTE))


@pytest.fixture
async def large_run(tell, client):
    await tell(a_large_run())

    async def all_known():
        nodes = (await client.get(f"{RUNS}/{RUN_ID}")).json().get("nodes", ())
        return len([node for node in nodes if node["status"] == "success"]) == MANY

    await until(all_known)


async def test_a_run_with_more_output_than_a_message_holds_is_told_and_cancelled(client, large_run):
    run = (await client.get(f"{RUNS}/{RUN_ID}")).json()
    assert {node["output"]["text"] for node in run["nodes"]} == {MEGABYTE}
    assert (await client.post(f"{RUNS}/{RUN_ID}/cancel")).status_code == 202


async def test_a_run_with_more_output_than_a_message_holds_is_resumed(client, tell, large_run):
    ended = RunFinished(
        run_id=RUN_ID, at=at(60), status=RunStatus.COMPLETED, total_nodes=MANY, successful_nodes=MANY, failed_nodes=0
    )
    await tell([ended])
    problem(await client.post(f"{RUNS}/{RUN_ID}/resume", json={}), 413, "start_too_large")
    again = await client.post(f"{RUNS}/{RUN_ID}/resume", json={"from": "start"})
    assert (again.status_code, again.json()["resumedFrom"]) == (202, str(RUN_ID))
