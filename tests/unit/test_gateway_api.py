"""The HTTP API without anything behind it: what is refused, how errors look, what is documented."""

import io
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from PIL import Image
from tests.unit.gateway_app import client_of, new_dependencies, problem

from gateway.body_limit import LINGER_BYTES, MAX_BODY_BYTES, MAX_UPLOAD_BYTES
from gateway.views import WorkflowView
from shared.assets import AssetStore
from shared.contracts.errors import invalid, unavailable
from shared.contracts.nesting import MAX_LEVELS
from shared.contracts.node_types import REGISTRY
from shared.contracts.queries import CostRow, CostsBy, CostsReply, RunView, WhyReply
from shared.contracts.states import RunStatus
from shared.contracts.values import MAX_PICTURE_BYTES, AssetRef

NOW = datetime(2026, 1, 1, tzinfo=UTC)
JSON = {"content-type": "application/json"}
RUN_PATH = "/api/workflows/runs/00000000-0000-0000-0000-000000000001"


@pytest.fixture
def assets(tmp_path):
    return AssetStore.from_url(tmp_path.as_uri())


@pytest.fixture
def dependencies(assets, pool):
    return new_dependencies(assets, pool)


@pytest.fixture
async def client(dependencies):
    async with client_of(dependencies) as client:
        yield client


def picture(image_format="PNG", size=(4, 2)):
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, image_format)
    return buffer.getvalue()


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP"])
async def test_a_picture_is_kept_the_same_from_a_form_and_from_the_body(client, assets, image_format):
    data = picture(image_format)
    as_form = await client.post("/api/uploads", files={"file": ("anything.txt", data)})
    as_body = await client.post("/api/uploads", content=data)
    assert (as_form.status_code, as_body.status_code) == (201, 201)
    assert as_form.json() == as_body.json()
    reference = AssetRef.model_validate(as_form.json()["asset"])
    assert (reference.width, reference.height) == (4, 2)
    assert await assets.get(reference) == data


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 422, "empty_file"),
        (b"<svg/>", 415, "unsupported_format"),
        (picture()[:40], 422, "image_corrupt"),
        (picture() + bytes(MAX_PICTURE_BYTES), 413, "file_too_large"),
    ],
)
async def test_what_is_no_acceptable_picture_is_refused(client, data, status, code):
    problem(await client.post("/api/uploads", content=data), status, code)
    problem(await client.post("/api/uploads", files={"file": ("x.png", data)}), status, code)


@pytest.mark.parametrize("form", [{"files": {"other": b"x"}}, {"data": {"file": "x"}, "files": {"other": b"x"}}])
async def test_a_form_without_the_file_is_refused(client, form):
    assert problem(await client.post("/api/uploads", **form), 422, "invalid_request")["problems"][0]["where"] == "file"


async def test_a_broken_form_is_refused(client):
    headers = {"content-type": "multipart/form-data; boundary=b"}
    problem(await client.post("/api/uploads", content=b"--b\r\nnonsense", headers=headers), 422, "invalid_request")


CHUNK = 1024 * 1024


class Body:
    """A body that is sent for as long as somebody reads it."""

    def __init__(self):
        self.sent = 0

    async def __aiter__(self):
        yield picture()  # what begins wrongly is refused sooner
        while True:
            self.sent += CHUNK
            yield bytes(CHUNK)


@pytest.mark.parametrize("is_announced", [True, False])
@pytest.mark.parametrize(
    ("path", "limit", "code"),
    [
        ("/api/uploads", MAX_UPLOAD_BYTES, "file_too_large"),
        ("/api/workflows", MAX_BODY_BYTES, "body_too_large"),
    ],
)
async def test_reading_stops_after_the_limit(client, path, limit, code, is_announced):
    body = Body()
    headers = {"content-type": "application/json"} | ({"content-length": str(limit + 1)} if is_announced else {})
    answer = await client.post(path, content=body, headers=headers)
    problem(answer, 413, code)
    assert answer.headers["connection"] == "close"
    assert body.sent <= limit + LINGER_BYTES + 2 * CHUNK


@pytest.mark.parametrize(
    "body", [{"graph": {}}, {"graph": {"nodes": []}, "name": "x"}], ids=["to be read", "to be kept"]
)
@pytest.mark.parametrize("levels", [MAX_LEVELS + 1, 300, 100_000])
async def test_json_that_is_nested_too_deeply_is_refused(client, body, levels):
    deep = "[" * levels + "]" * levels
    text = json.dumps(body)[:-1] + f', "x": {deep}}}'
    problem(await client.post("/api/workflows", content=text, headers=JSON), 422, "invalid_request")


async def test_a_full_asset_store_is_told_as_unavailable(client, assets, monkeypatch):
    async def fail(*_):
        raise unavailable("asset_store_unavailable", "full")

    monkeypatch.setattr(assets, "put_image", fail)
    answer = await client.post("/api/uploads", content=picture())
    problem(answer, 503, "asset_store_unavailable")
    assert answer.headers["retry-after"] == "2"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (invalid("workflow_not_found", "x"), 404),
        (invalid("run_not_found", "x"), 404),
        (invalid("node_not_found", "x"), 404),
        (invalid("workflow_conflict", "x"), 409),
        (invalid("run_conflict", "x"), 409),
        (invalid("trigger_conflict", "x"), 409),
        (invalid("run_finished", "x"), 409),
        (invalid("run_not_finished", "x"), 409),
        (invalid("command_not_kept", "x"), 409),
        (invalid("start_too_large", "x"), 413),
        (invalid("cycle", "x"), 422),
        (unavailable("no_answer", "x"), 503),
    ],
)
async def test_errors_have_their_status(client, dependencies, error, status):
    dependencies.runs.get.side_effect = error
    problem(await client.get(RUN_PATH), status, error.code)
    problem(await client.get(f"{RUN_PATH}/events"), status, error.code)


async def test_a_defect_is_told_without_its_details(client, dependencies):
    dependencies.runs.get.side_effect = KeyError("secret")
    answer = await client.get(RUN_PATH)
    problem(answer, 500, "internal_error")
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("DELETE", "/api/workflows", 405, "method_not_allowed"),
        ("GET", "/api/workflows/not-a-uuid", 422, "invalid_request"),
        ("GET", "/api/workflows?limit=0", 422, "invalid_request"),
        ("GET", "/api/workflows/runs?limit=201", 422, "invalid_request"),
        ("POST", "/api/workflows/runs/not-a-uuid/cancel", 422, "invalid_request"),
    ],
)
async def test_requests_that_do_not_fit_are_problems_too(client, method, path, status, code):
    problem(await client.request(method, path), status, code)


EXECUTE_PATH = "/api/workflows/00000000-0000-0000-0000-000000000002/execute"
STARTS = pytest.mark.parametrize("path", [EXECUTE_PATH, f"{RUN_PATH}/resume", f"{RUN_PATH}/replay"])
ACCEPTED = RunView(run_id=UUID(int=3), status=RunStatus.QUEUED)


@STARTS
async def test_a_start_without_a_body_is_one_without_wishes(client, dependencies, path):
    dependencies.starts.start.return_value = ACCEPTED
    answer = await client.post(path)
    assert (answer.status_code, answer.json()["runId"]) == (202, str(ACCEPTED.run_id))
    assert answer.headers["location"] == f"/api/workflows/runs/{ACCEPTED.run_id}"
    subject, request, _ = dependencies.starts.start.call_args.args
    assert subject.partition(" ")[2] in path
    assert request == type(request)()


@STARTS
async def test_the_idempotency_key_is_the_trigger_id(client, dependencies, path):
    dependencies.starts.start.return_value = ACCEPTED
    for body in ({}, {"triggerRunId": "mine"}):
        answer = await client.post(path, json=body, headers={"Idempotency-Key": "mine"})
        assert answer.status_code == 202
    by_header, by_body = (call.args[1] for call in dependencies.starts.start.call_args_list)
    assert by_header == by_body
    assert by_body.trigger_run_id == "mine"
    other = await client.post(path, json={"triggerRunId": "other"}, headers={"Idempotency-Key": "mine"})
    problem(other, 422, "invalid_request")


@STARTS
@pytest.mark.parametrize("trigger", ["", 201 * "x", "a\0b"])
async def test_a_trigger_id_that_cannot_be_kept_is_refused(client, path, trigger):
    problem(await client.post(path, json={"triggerRunId": trigger}), 422, "invalid_request")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (EXECUTE_PATH, {"scope": "some"}),
        (EXECUTE_PATH, {"pinned": {"a": "text"}}),
        (EXECUTE_PATH, {"options": {"maxInFlight": 0}}),
        (EXECUTE_PATH, {"options": {"budget": {"maxCost": -1}}}),
        (f"{RUN_PATH}/resume", {"from": "middle"}),
        (f"{RUN_PATH}/resume", {"params": {"a": 1}}),
        (f"{RUN_PATH}/cancel", {"reason": 1_001 * "x"}),
    ],
)
async def test_what_no_run_can_be_asked_for_is_refused(client, path, body):
    problem(await client.post(path, json=body), 422, "invalid_request")


async def test_a_cancel_tells_the_run_as_it_was(client, dependencies):
    dependencies.runs.cancel.return_value = ACCEPTED
    answer = await client.post(f"{RUN_PATH}/cancel", json={"reason": "enough"})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    dependencies.runs.cancel.assert_awaited_with(UUID(int=1), "enough")


async def test_why_is_asked_of_a_run_or_of_a_node(client, dependencies):
    dependencies.explanations.why.return_value = WhyReply(status=RunStatus.RUNNING, open_nodes=2)
    answer = await client.get(f"{RUN_PATH}/why", params={"node": "a"})
    assert answer.json() == {"known": True, "status": "running", "reasons": [], "nodes": [], "openNodes": 2}
    dependencies.explanations.why.assert_awaited_with(UUID(int=1), "a")
    await client.get(f"{RUN_PATH}/why")
    dependencies.explanations.why.assert_awaited_with(UUID(int=1), None)


UNREADABLE = {
    "no JSON": b"{",
    "no object": b"[]",
    "no graph": b"{}",
    "not UTF-8": b'{"graph": "\xff"}',
    "too deep": b'{"graph": ' + b"[" * 100_000,
    "deep params": b'{"graph": {"nodes": [{"id": "a", "type": "text", "params": {"text": '
    + b"[" * 500
    + b"]" * 500
    + b"}}]}}",
    "NUL": b'{"graph": {"nodes": [{"id": "planted\\u0000", "type": "text"}]}}',
    "half a surrogate pair": b'{"graph": {"nodes": [{"id": "a", "type": "planted\\ud800"}]}}',
    "NaN": b'{"graph": {"nodes": [{"id": "a", "type": "text", "position": {"x": NaN, "y": 0}}]}}',
    "infinity": b'{"graph": {"nodes": [{"id": "a", "type": "text", "position": {"x": 1e999, "y": 0}}]}}',
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_what_cannot_be_read_or_stored_is_refused_without_an_echo(client, body):
    answer = await client.post("/api/workflows", content=body, headers={"content-type": "application/json"})
    problem(answer, 422, "invalid_request")
    assert "planted" not in answer.text


async def test_all_problems_of_a_workflow_are_told_at_once(client, dependencies):
    graph = {"nodes": [{"id": "a", "type": "nonsense"}, {"id": "b", "type": "crop_image"}], "edges": []}
    answer = await client.post("/api/workflows", json={"graph": graph})
    document = problem(answer, 422, "unknown_type")
    assert [item["code"] for item in document["problems"]] == ["unknown_type", "missing_input"]
    dependencies.workflows.add.assert_not_called()


async def test_the_node_types_are_those_of_the_registry(client):
    node_types = (await client.get("/api/node-types")).json()["nodeTypes"]
    assert [node_type["name"] for node_type in node_types] == list(REGISTRY)
    by_name = {node_type["name"]: node_type for node_type in node_types}
    assert by_name["llm"]["executedBy"] == "worker"
    assert {"name": "images", "type": "image", "required": False, "multiple": True} in by_name["llm"]["inputs"]
    assert by_name["response"]["openInputs"] == "any"
    assert by_name["response"]["executedBy"] == "orchestrator"
    assert by_name["crop_image"]["params"]["properties"]["unit"]["enum"] == ["percent", "px"]


ENDED = ACCEPTED.model_copy(update={"status": RunStatus.COMPLETED, "nodes": ()})


@STARTS
async def test_a_start_may_wait_for_the_end(client, dependencies, path):
    dependencies.starts.start.return_value = ACCEPTED
    dependencies.runs.get.return_value = ENDED
    answer = await client.post(path, params={"wait": 5})
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    dependencies.runs.get.return_value = ACCEPTED
    answer = await client.post(path, params={"wait": 0.01})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    problem(await client.post(path, params={"wait": 61}), 422, "invalid_request")


@STARTS
async def test_a_run_that_cannot_be_asked_about_is_told_as_it_was_accepted(client, dependencies, path):
    dependencies.starts.start.return_value = ACCEPTED
    dependencies.runs.get.side_effect = unavailable("no_answer", "away")
    answer = await client.post(path, params={"wait": 0.01})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")


async def events(client, **headers):
    async with client.sse(f"{RUN_PATH}/events", headers=headers) as source:
        return source.response.status_code, [event async for event in source]


async def test_a_run_that_has_ended_is_told_once_and_never_again(client, dependencies):
    dependencies.runs.get.return_value = ENDED
    status, (told,) = await events(client)
    assert (status, told.event, told.json()["status"]) == (200, "run.snapshot", "completed")
    answer = await client.get(f"{RUN_PATH}/events", headers={"Last-Event-ID": told.id})
    assert (answer.status_code, answer.content) == (204, b"")
    assert [event.id for event in (await events(client, **{"Last-Event-ID": "of others"}))[1]] == [told.id]


async def test_a_graph_is_checked_and_not_kept(client, dependencies):
    graph = {"nodes": [{"id": "a", "type": "text"}], "edges": []}
    good = await client.post("/api/workflows/validate", json={"graph": graph})
    assert (good.status_code, good.json()["valid"], good.json()["graph"]["nodes"][0]["type"]) == (200, True, "text")
    bad = await client.post("/api/workflows/validate", json={"graph": {"nodes": [{"id": "a", "type": "x"}]}})
    assert (bad.status_code, bad.json()["valid"]) == (200, False)
    assert bad.json()["problems"][0]["code"] == "unknown_type"
    dependencies.workflows.add.assert_not_called()


async def test_what_is_imported_is_named_by_its_file(client, dependencies):
    file = {"name": "old", "nodes": [{"id": "a", "type": "text"}], "edges": [], "viewport": {"zoom": 1}}

    async def add(workflow_id, name, graph):
        return WorkflowView(id=workflow_id, version=1, name=name, created_at=NOW, graph=graph), True

    dependencies.workflows.add.side_effect = add
    answer = await client.post("/api/workflows/import", json=file)
    assert (answer.status_code, answer.json()["name"]) == (201, "old")
    problem(await client.post("/api/workflows/import", json={"edges": []}), 422, "invalid_request")


BATCH_PATH = EXECUTE_PATH + "-batch"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"inputs": []},
        {"inputs": [{}] * 1_001},
        {"inputs": [{"a": {"type": "nothing"}}]},
        {"inputs": [{}], "tags": [str(number) for number in range(21)]},
        {"inputs": [{}], "metadata": {"x": 17_000 * "y"}},
    ],
)
async def test_what_is_no_batch_is_refused_as_a_whole(client, dependencies, body):
    problem(await client.post(BATCH_PATH, json=body), 422, "invalid_request")
    dependencies.batches.start.assert_not_called()


async def test_costs_are_asked_for_with_a_time_that_has_a_zone(client, dependencies):
    dependencies.costs.find.return_value = CostsReply(
        by=CostsBy.MODEL, rows=(CostRow(key="m", calls=2, unpriced=1, cost=0.5),), total=CostRow(calls=2, cost=0.5)
    )
    answer = await client.get("/api/costs", params={"by": "model", "since": "2026-11-01T00:00:00Z"})
    assert answer.status_code == 200
    (row,) = answer.json()["rows"]
    assert (row["key"], row["calls"], row["unpriced"], row["cost"]) == ("m", 2, 1, 0.5)
    dependencies.costs.find.assert_awaited_once_with(CostsBy.MODEL, datetime(2026, 11, 1, tzinfo=UTC))
    problem(await client.get("/api/costs", params={"by": "colour"}), 422, "invalid_request")
    problem(await client.get("/api/costs", params={"since": "2026-11-01T00:00:00"}), 422, "invalid_request")
