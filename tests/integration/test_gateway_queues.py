"""The levels of queues at the gateway, on the real broker: with its management API, and by AMQP alone."""

import pytest
from tests.integration.dead_jobs import QUESTION, start_runs
from tests.integration.gateway_client import problem, until
from tests.integration.gateway_fixtures import gateway_process

from shared.contracts.queues import LevelSource, QueuesView
from shared.messaging.levels import LevelReader
from shared.topology import QUERY_QUEUES, QUEUES


def codes(problems):
    return {(item["code"], item.get("where")) for item in problems}


async def view_of(client):
    return QueuesView.model_validate((await client.get("/api/queues")).json())


async def warnings_of(client):
    view = (await client.get("/api/queues")).json()
    parts = [view, *view["queues"], *view["nodeTypes"]]
    return codes(item for part in parts for item in part["warnings"])


async def test_every_queue_is_told_of_as_the_management_api_knows_it(client, services):
    async def is_known():
        view = await view_of(client)
        return all(level.unacked is not None for level in view.queues)

    await until(is_known)
    view = await view_of(client)
    assert view.source is LevelSource.MANAGEMENT
    assert [level.name for level in view.queues] == [queue.name for queue in QUEUES]
    assert {level.ready for level in view.queues} == {0}
    found = {level.node_type: level for level in view.node_types}
    assert (found["crop_image"].waiting, found["crop_image"].drain_seconds, found["crop_image"].warnings) == (0, 0, ())
    assert [warning.code for warning in found["llm"].warnings] == ["no_consumer"]


async def test_jobs_that_wait_are_told_with_the_oldest_and_with_their_rate(client, services):
    await start_runs(client, 5, QUESTION)

    async def are_waiting():
        (level,) = (item for item in (await view_of(client)).node_types if item.node_type == "llm")
        return level.waiting == 5 and level.oldest_seconds is not None and level.arriving > 0

    await until(are_waiting)
    (level,) = (item for item in (await view_of(client)).node_types if item.node_type == "llm")
    assert (level.drain_seconds is None) is (level.finishing == 0)


async def test_one_queue_is_told_of_with_its_node_type(client, services):
    details = (await client.get("/api/queues/dead.jobs.llm")).json()
    assert (details["queue"]["holdsDeadLetters"], details["nodeType"]["nodeType"]) == (True, "llm")
    problem(await client.get("/api/queues/nobodys"), 404, "queue_not_found")


async def test_a_topology_that_differs_from_the_codes_is_warned_of(client, admin):
    await admin.queue_delete("jobs.llm.low")
    await admin.queue_delete("run_tracker.queries")
    await admin.declare_queue("run_tracker.queries", durable=True)
    commands = await admin.declare_queue("orchestrator.commands", passive=True)
    await commands.unbind("weft.runs", "node.retry")
    await admin.declare_queue("jobs.of_yesterday", durable=True)
    expected = {
        ("queue_missing", "jobs.llm.low"),
        ("queue_differs", "run_tracker.queries"),
        ("binding_missing", "orchestrator.commands"),
        ("queue_unknown", "jobs.of_yesterday"),
    }
    try:

        async def is_noticed():
            return expected <= await warnings_of(client)

        await until(is_noticed)
    finally:
        await admin.queue_delete("jobs.of_yesterday")
        await admin.queue_delete("run_tracker.queries")


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:9"])
async def test_without_the_management_api_amqp_tells_what_it_can(stack, empty_queues, empty_tables, url):
    async with gateway_process(stack.model_copy(update={"management_url": url})) as gateway:
        view = await view_of(gateway.client)
    assert view.source is LevelSource.AMQP
    # In a queue of queries the gateway's own question may wait, which nobody is there to answer.
    assert {(level.ready, level.unacked) for level in view.queues if level.name not in QUERY_QUEUES} == {(0, None)}
    told = [warning.code for warning in view.warnings]
    assert told == (["management_unavailable"] if url else []) + ["no_answer"]


async def test_a_broker_without_an_alarm_confirms_what_is_published(stack):
    assert (await LevelReader(stack.amqp_url).read()).warnings == ()


async def test_only_who_administers_is_told(client, stack):
    made = (await client.post("/api/keys", json={"name": "test", "owner": "somebody"})).json()
    answer = await client.get("/api/queues", headers={"Authorization": f"Bearer {made['key']}"})
    problem(answer, 403, "scope_missing")
