"""Dead letters at the gateway, on the real broker: found, explained, dropped, replayed; nothing is done twice."""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import aio_pika
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
from tests.integration.gateway_client import messages_in, problem, until
from tests.integration.gateway_fixtures import gateway_process

from shared.contracts.bundles import Bundle, bundled
from shared.contracts.dead_letters import DeadLetterPage
from shared.contracts.events import NodeSucceeded
from shared.contracts.values import TextValue
from shared.messaging.dead_letters import open_dead_queue
from shared.topology import COMMANDS_QUEUE, JOBS, RESULTS_QUEUE, RUNS

POISON = b"\xff no job"


@pytest.fixture
async def dead_runs(client, services, stack):
    """Three runs whose only jobs have died."""
    async with rejecting_worker(stack):
        runs = await start_runs(client, 3)
        await dead_letters(client, 3)
    for run_id in runs:
        await ended(client, run_id)
    return runs


async def publish_raw(channel, body, exchange, routing_key, **properties):
    target = await channel.get_exchange(exchange, ensure=False)
    await target.publish(aio_pika.Message(body, **properties), routing_key)


async def test_it_is_told_why_a_job_died_and_of_which_run_and_node_it_was(client, dead_runs):
    letters = await dead_letters(client, 3)
    assert {letter["runId"] for letter in letters} == set(dead_runs)
    for letter in letters:
        assert (letter["queue"], letter["diedIn"], letter["reason"]) == (
            "dead.jobs.llm",
            "jobs.llm.suspect",
            "rejected",
        )
        assert (letter["nodeId"], letter["nodeType"], letter["attempt"]) == ("ask", "llm", 1)
        assert (letter["code"], letter["deaths"], letter["runStatus"]) == ("worker_crashed", 2, "failed")
        assert datetime.now(UTC) - datetime.fromisoformat(letter["diedAt"]) < timedelta(minutes=2)


async def test_looking_changes_neither_order_nor_number(client, dead_runs, stack):
    first = await dead_letters(client, 3)
    for _ in range(3):
        assert await dead_letters(client, 3) == first
        assert (await client.get(f"{DEAD}/{first[1]['id']}")).json()["body"]
    assert await messages_in(stack, "dead.jobs.llm") == 3


async def test_who_reads_at_once_after_another_finds_as_many(dead_runs, stack):
    for _ in range(20):
        letters = []
        async with open_dead_queue(stack.amqp_url, "dead.jobs.llm") as queue:
            await queue.read(letters.append)
        assert len(letters) == 3


async def test_a_letter_is_shown_with_its_body_and_exported(client, dead_runs):
    letters = await dead_letters(client, 3)
    shown = (await client.get(f"{DEAD}/{letters[0]['id']}")).json()
    assert (shown["exchange"], shown["routingKey"], shown["encoding"]) == ("weft.dead", "jobs.llm.suspect", "utf-8")
    assert json.loads(shown["body"])["nodeId"] == "ask"
    assert shown["headers"]["x-death"][0]["queue"] == "jobs.llm.suspect"
    exported = (await client.get(DEAD, params={"bodies": True})).json()["letters"]
    assert [letter["id"] for letter in exported] == [letter["id"] for letter in letters]
    assert {json.loads(letter["body"])["runId"] for letter in exported} == set(dead_runs)
    problem(await client.get(f"{DEAD}/{16 * '0'}"), 404, "dead_letter_not_found")


async def test_letters_are_chosen_by_what_is_known_of_them(client, dead_runs):
    now = datetime.now(UTC)

    async def total(**query):
        return (await client.get(DEAD, params=query)).json()["total"]

    assert await total(nodeType="llm", queue="dead.jobs.llm", code="worker_crashed", error="GIVEN UP") == 3
    assert await total(runId=dead_runs[0]) == 1
    assert await total(since=(now - timedelta(hours=1)).isoformat()) == 3
    assert await total(since=(now + timedelta(hours=1)).isoformat()) == 0
    assert [await total(**query) for query in ({"nodeType": "crop_image"}, {"code": "other"}, {"error": "odd"})] == [
        0
    ] * 3


async def test_pages_follow_each_other(client, dead_runs):
    seen, cursor = [], {}
    for left in (2, 1, 0):
        page = DeadLetterPage.model_validate((await client.get(DEAD, params={"limit": 1, **cursor})).json())
        seen += [letter.id for letter in page.letters]
        cursor = {"cursor": page.next_cursor}
        assert (page.total, page.next_cursor is None) == (3, left == 0)
    assert seen == [letter["id"] for letter in await dead_letters(client, 3)]


async def test_what_cannot_be_read_is_told_of_too_and_goes_back_when_it_is_replayed(client, stack, channel):
    async with rejecting_worker(stack):
        await publish_raw(channel, POISON, JOBS, "llm")
        (letter,) = await dead_letters(client, 1)
    assert (letter["readable"], letter["code"], "runId" in letter) == (False, "rejected", False)
    shown = (await client.get(f"{DEAD}/{letter['id']}")).json()
    assert (shown["encoding"], base64.b64decode(shown["body"])) == ("base64", POISON)
    assert await outcomes(client, "replay", ids=[letter["id"]]) == ["republished"]
    assert await messages_in(stack, "jobs.llm.suspect") == 1
    assert await messages_in(stack, "dead.jobs.llm") == 0


async def test_another_message_goes_back_to_where_it_died(client, stack, channel):
    await publish_raw(channel, b"{}", RUNS, "run.start", message_id="odd", type="run.start")
    commands = await channel.declare_queue(COMMANDS_QUEUE, passive=True)
    await (await commands.get()).reject(requeue=False)
    (letter,) = await dead_letters(client, 1)
    assert (letter["kind"], letter["messageId"], letter["queue"]) == ("run.start", "odd", f"dead.{COMMANDS_QUEUE}")
    assert await outcomes(client, "replay", all=True) == ["republished"]
    again = await commands.get()
    assert (again.body, again.message_id, again.type, "x-death" in again.headers) == (b"{}", "odd", "run.start", False)
    await again.ack()


async def test_a_bundle_names_the_runs_that_it_tells_of(client, stack, channel, worker_publisher):
    told, output = datetime.now(UTC), TextValue(text="")
    results = [NodeSucceeded(run_id=uuid4(), node_id="ask", node_type="llm", at=told, output=output) for _ in range(2)]
    await worker_publisher.publish_all(bundled(results, {}))
    queue = await channel.declare_queue(RESULTS_QUEUE, passive=True)
    await (await queue.get()).reject(requeue=False)
    (letter,) = await dead_letters(client, 1)
    runs = [str(result.run_id) for result in results]
    assert (letter["readable"], letter["runIds"], "runId" in letter) == (True, runs, False)
    for run, found in ((runs[1], 1), (str(uuid4()), 0)):
        assert len((await client.get(DEAD, params={"runId": run})).json()["letters"]) == found
    assert await outcomes(client, "replay", all=True) == ["republished"]
    again = await queue.get()
    assert (again.content_type, again.type) == ("application/jsonl", Bundle.kind_name())
    await again.ack()


async def test_letters_are_dropped(client, dead_runs, stack):
    first, *_ = await dead_letters(client, 3)
    assert await outcomes(client, "drop", ids=[first["id"]]) == ["dropped"]
    reply = await treat(client, "drop", filter={"nodeType": "llm"}, limit=1)
    assert (len(reply["results"]), reply["left"]) == (1, 1)
    assert await messages_in(stack, "dead.jobs.llm") == 1


@pytest.mark.parametrize(
    "selection", [{}, {"all": True, "ids": [16 * "a"]}, {"ids": ["odd"]}, {"all": True, "limit": 0}]
)
async def test_it_must_be_clear_what_is_meant(client, selection):
    problem(await client.post(f"{DEAD}/replay", json=selection), 422, "invalid_request")


async def test_runs_that_have_ended_are_taken_up_in_new_ones_once(client, dead_runs, stack):
    done = []
    async with obeying_worker(stack, done):
        bodies = (await client.get(DEAD, params={"bodies": True})).json()["letters"]
        reply = await treat(client, "replay", all=True)
        assert [result["outcome"] for result in reply["results"]] == ["resumed"] * 3
        for result in reply["results"]:
            run = await ended(client, result["resumedAs"])
            assert (run["status"], run["resumedFrom"], run["owner"]) == ("completed", result["runId"], "local")
    assert len(done) == 3
    assert await messages_in(stack, "dead.jobs.llm") == 0
    await die_again(stack, bodies)
    again = await treat(client, "replay", all=True)
    assert {result["resumedAs"] for result in again["results"]} == {item["resumedAs"] for item in reply["results"]}
    assert await messages_in(stack, "jobs.llm") == 0


async def test_edited_params_are_those_of_the_new_run(client, dead_runs, stack):
    done = []
    async with obeying_worker(stack, done):
        reply = await treat(client, "replay", filter={"runId": dead_runs[0]}, params={"userMessage": "edited"})
        await ended(client, reply["results"][0]["resumedAs"])
    assert [question for _, _, question in done] == ["edited"]


async def test_params_that_do_not_fit_fail_and_the_letter_stays(client, dead_runs, stack):
    reply = await treat(client, "replay", filter={"runId": dead_runs[0]}, params={"nonsense": 1})
    (result,) = reply["results"]
    assert (result["outcome"], result["problem"]["nodeId"]) == ("failed", "ask")
    assert await messages_in(stack, "dead.jobs.llm") == 3


async def test_a_job_of_a_run_that_nobody_knows_fails_and_stays(client, services, stack, channel, publisher):
    job = {"runId": "11111111-1111-4111-8111-111111111111", "nodeId": "ask", "nodeType": "llm", "attempt": 1}
    async with rejecting_worker(stack):
        await publish_raw(channel, json.dumps({"kind": "node.execute", **job}).encode(), JOBS, "llm")

        async def is_dead():
            return await messages_in(stack, "dead.jobs.llm") == 1

        await until(is_dead)
    (result,) = (await treat(client, "replay", all=True))["results"]
    assert (result["outcome"], result["problem"]["code"]) == ("failed", "run_not_found")
    assert await messages_in(stack, "dead.jobs.llm") == 1


async def test_a_run_with_several_dead_jobs_is_taken_up_once_by_pages_too(client, services, stack):
    nodes = [{**QUESTION["nodes"][0], "id": f"ask_{number}"} for number in range(3)]
    async with rejecting_worker(stack):
        (run_id,) = await start_runs(client, 1, {"nodes": nodes, "edges": []})
        await dead_letters(client, 3)
    await ended(client, run_id)
    done = []
    async with obeying_worker(stack, done):
        replies = [await treat(client, "replay", all=True, limit=1, params={"userMessage": "now"}) for _ in range(3)]
        (taken_up,) = {reply["results"][0]["resumedAs"] for reply in replies}
        run = await ended(client, taken_up)
    assert [reply["left"] for reply in replies] == [2, 1, 0]
    assert (run["status"], sorted(done)) == ("completed", [(taken_up, f"ask_{number}", "now") for number in range(3)])


async def test_the_letters_of_an_owners_run_are_replayed_as_that_owners(client, services, stack):
    made = (await client.post("/api/keys", json={"name": "test", "owner": "alice"})).json()
    headers = client.headers | {"Authorization": f"Bearer {made['key']}"}
    workflow = (await client.post("/api/workflows", json={"graph": QUESTION}, headers=headers)).json()
    async with rejecting_worker(stack):
        path = f"/api/workflows/{workflow['id']}/execute"
        run_id = (await client.post(path, headers=headers)).json()["runId"]
        (letter,) = await dead_letters(client, 1)
    assert letter["owner"] == "alice"
    await ended(client, run_id)
    (result,) = (await treat(client, "replay", ids=[letter["id"]]))["results"]
    assert (await client.get(f"/api/workflows/runs/{result['resumedAs']}", headers=headers)).json()["owner"] == "alice"
    problem(await client.post(f"{DEAD}/replay", json={"all": True}, headers=headers), 403, "scope_missing")


async def test_two_gateways_read_one_after_the_other(client, dead_runs, stack):
    async with gateway_process(stack) as other:
        requests = [asked.get(DEAD) for asked in (client, other.client) for _ in range(5)]
        totals = [answer.json()["total"] for answer in await asyncio.gather(*requests)]
    assert totals == [3] * 10
