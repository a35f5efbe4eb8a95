"""Workflows over HTTP: made, changed, found, deleted, checked, imported and exported."""

import asyncio
from uuid import uuid4

from tests.integration.gateway_client import GRAPH, execute, keep, problem, recorded

WORKFLOWS = "/api/workflows"
OTHER = {"nodes": [{"id": "say", "type": "text", "params": {"text": "hello"}}], "edges": []}
BROKEN = {"nodes": [{"id": "a", "type": "nothing"}, {"id": "a", "type": "text"}], "edges": []}


def place(workflow):
    return f"{WORKFLOWS}/{workflow['id']}"


async def test_a_change_is_a_new_version_and_the_old_one_can_be_read(client):
    first = await keep(client, name="one")
    second = (await client.put(place(first), json={"graph": OTHER, "name": "two", "version": 1})).json()
    assert (second["id"], second["version"], second["name"]) == (first["id"], 2, "two")
    assert (await client.get(place(first))).json() == second
    assert (await client.get(place(first), params={"version": 1})).json() == first
    problem(await client.get(place(first), params={"version": 3}), 404, "workflow_not_found")


async def test_the_same_again_is_no_new_version_and_keeps_its_name(client):
    first = await keep(client, name="one")
    assert (await client.put(place(first), json={"graph": GRAPH})).json() == first


async def test_of_changes_to_one_version_one_is_kept_and_the_others_hear_of_it(client):
    workflow = await keep(client)
    changes = [
        {"graph": {**OTHER, "nodes": [{"id": str(number), "type": "text"}]}, "version": 1} for number in range(10)
    ]
    answers = await asyncio.gather(*(client.put(place(workflow), json=change) for change in changes))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9
    refused = next(answer for answer in answers if answer.status_code == 409)
    problem(refused, 409, "workflow_changed")
    assert "is 2, not 1" in refused.json()["detail"]


async def test_changes_without_a_version_are_all_kept_one_after_the_other(client):
    workflow = await keep(client)
    changes = [{"graph": {**OTHER, "nodes": [{"id": str(number), "type": "text"}]}} for number in range(5)]
    answers = await asyncio.gather(*(client.put(place(workflow), json=change) for change in changes))
    assert sorted(answer.json()["version"] for answer in answers) == [2, 3, 4, 5, 6]


async def test_a_run_keeps_the_version_that_it_was_started_with(client, services):
    workflow = await keep(client)
    accepted = await execute(client, workflow)
    await client.put(place(workflow), json={"graph": OTHER})
    run = await recorded(client, accepted.headers["location"])
    assert (run["workflowVersion"], run["status"]) == (1, "completed")
    assert {node["nodeId"] for node in run["nodes"]} == {"photo", "half", "out"}


async def test_a_deleted_workflow_is_found_no_more_and_its_runs_are(client, services):
    workflow = await keep(client)
    accepted = await execute(client, workflow)
    await recorded(client, accepted.headers["location"])
    assert (await client.delete(place(workflow))).status_code == 204
    for answer in (
        await client.get(place(workflow)),
        await client.delete(place(workflow)),
        await client.put(place(workflow), json={"graph": OTHER}),
        await execute(client, workflow),
    ):
        problem(answer, 404, "workflow_not_found")
    assert (await client.get(WORKFLOWS)).json()["workflows"] == []
    runs = (await client.get(f"{place(workflow)}/runs")).json()["runs"]
    assert [run["status"] for run in runs] == ["completed"]
    replayed = await client.post(f"{accepted.headers['location']}/replay", params={"wait": 30})
    assert (replayed.status_code, replayed.json()["status"]) == (200, "completed")


async def test_what_was_deleted_can_be_kept_again(client):
    workflow_id = str(uuid4())
    workflow = await keep(client, id=workflow_id)
    await client.delete(place(workflow))
    assert await keep(client, id=workflow_id) == workflow
    assert (await client.get(place(workflow))).status_code == 200


async def test_pages_hold_every_workflow_once_newest_first(client):
    kept = [(await keep(client, name=str(number)))["id"] for number in range(5)]
    found, cursor = [], {}
    while cursor is not None:
        page = (await client.get(WORKFLOWS, params={"limit": 2, **cursor})).json()
        found += [workflow["id"] for workflow in page["workflows"]]
        cursor = {"cursor": page["nextCursor"]} if page.get("nextCursor") else None
    assert found == kept[::-1]
    problem(await client.get(WORKFLOWS, params={"cursor": "x"}), 422, "invalid_cursor")


async def test_a_graph_is_checked_without_being_kept(client):
    good = (await client.post(f"{WORKFLOWS}/validate", json={"graph": GRAPH})).json()
    assert (good["valid"], good["problems"]) == (True, [])
    assert {node["type"] for node in good["graph"]["nodes"]} == {"upload_image", "crop_image", "response"}
    bad = (await client.post(f"{WORKFLOWS}/validate", json={"graph": BROKEN})).json()
    assert not bad["valid"]
    assert {item["code"] for item in bad["problems"]} == {"unknown_type", "duplicate_id"}
    shapeless = (await client.post(f"{WORKFLOWS}/validate", json={"graph": {"nodes": 1}})).json()
    assert [item["code"] for item in shapeless["problems"]] == ["invalid_workflow"]
    assert (await client.get(WORKFLOWS)).json()["workflows"] == []


async def test_an_export_is_imported_as_it_was(client):
    workflow = await keep(client, name="halves")
    exported = await client.get(f"{place(workflow)}/export")
    assert exported.headers["content-disposition"] == f'attachment; filename="{workflow["id"]}.json"'
    imported = await client.post(f"{WORKFLOWS}/import", json=exported.json())
    assert imported.status_code == 201
    again = imported.json()
    assert again["id"] != workflow["id"]
    assert (again["name"], again["graph"]["nodes"]) == ("halves", workflow["graph"]["nodes"])


async def test_a_file_of_the_predecessor_is_imported(client):
    old = {**GRAPH, "viewport": {"x": 0, "y": 0, "zoom": 1}}
    workflow = (await client.post(f"{WORKFLOWS}/import", json=old)).json()
    assert workflow["name"] == "untitled"
    assert [node["type"] for node in workflow["graph"]["nodes"]] == ["upload_image", "crop_image", "response"]
    problem(await client.post(f"{WORKFLOWS}/import", json=BROKEN), 422, "duplicate_id")
