"""Uploads and downloads over HTTP: an upload is shown encoded anew, in parts if need be, smaller if asked for."""

import io
from uuid import UUID

import pytest
from PIL import Image
from tests.unit.gateway_app import client_of, new_dependencies, problem

from shared.assets import AssetStore
from shared.contracts.queries import NodeView, RunView
from shared.contracts.states import NodeStatus, RunStatus
from shared.contracts.values import AssetRef, ImageValue, RecordValue

HIDDEN = b"<script>hidden</script>"


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


@pytest.fixture
async def stranger(dependencies):
    async with client_of(dependencies, key=None) as client:
        yield client


def picture(image_format="PNG", size=(400, 200)):
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(buffer, image_format)
    return buffer.getvalue()


async def upload(client, data):
    answer = await client.post("/api/uploads", content=data)
    assert answer.status_code == 201, answer.text
    return answer.json()


def opened(answer):
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP"])
async def test_an_upload_is_shown_without_what_was_hidden_in_it(client, stranger, image_format):
    kept = await upload(client, picture(image_format) + HIDDEN)
    answer = await stranger.get(kept["url"])
    assert (opened(answer).format, opened(answer).size) == (image_format, (400, 200))
    assert HIDDEN not in answer.content
    assert answer.headers["content-type"] == kept["asset"]["mediaType"]
    assert answer.headers["content-length"] == str(len(answer.content))


async def test_a_smaller_picture_is_made_once(client, stranger, assets, monkeypatch):
    kept = await upload(client, picture())
    first = await stranger.get(kept["thumbnailUrl"])
    assert (opened(first).format, opened(first).size) == ("JPEG", (256, 128))
    monkeypatch.setattr(assets, "get_key_blocking", None)
    assert (await stranger.get(kept["thumbnailUrl"])).content == first.content


async def test_a_part_of_a_picture_is_sent(client, stranger):
    kept = await upload(client, picture())
    whole = await stranger.get(kept["url"])
    assert whole.headers["accept-ranges"] == "bytes"
    part = await stranger.get(kept["url"], headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
    changed = await stranger.get(kept["url"], headers={"Range": "bytes=10-19", "If-Range": '"another"'})
    assert (changed.status_code, changed.content) == (200, whole.content)
    beyond = await stranger.get(kept["url"], headers={"Range": "bytes=10000000-"})
    problem(beyond, 416, "range_not_satisfiable")
    assert beyond.headers["content-range"] == f"bytes */{len(whole.content)}"


async def test_who_has_the_picture_is_not_sent_it_again(client, stranger):
    kept = await upload(client, picture())
    first = await stranger.get(kept["url"])
    assert first.headers["cache-control"].startswith("private, max-age=")
    again = await stranger.get(kept["url"], headers={"If-None-Match": f'"x", {first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert (await stranger.get(kept["thumbnailUrl"])).headers["etag"] != first.headers["etag"]


async def test_a_link_that_was_changed_is_refused(client, stranger):
    kept = await upload(client, picture())
    problem(await stranger.get(kept["url"].replace("size=full", "size=original")), 403, "link_not_valid")
    problem(await stranger.get(kept["url"].split("?")[0]), 422, "invalid_request")
    problem(await stranger.get(kept["url"].replace("/assets/", "/assets/..%2F")), 404, "not_found")


async def test_a_picture_that_is_gone_is_not_found(client, stranger, assets):
    kept = await upload(client, picture())
    path = assets.local_path(AssetRef.model_validate(kept["asset"]))
    assert path
    path.unlink()
    problem(await stranger.get(kept["url"]), 404, "asset_not_found")


async def test_the_pictures_of_a_run_are_listed_for_who_may_see_it(client, stranger, dependencies):
    reference = AssetRef.model_validate((await upload(client, picture()))["asset"])
    image = ImageValue(asset=reference)
    nodes = (
        NodeView(node_id="photo", node_type="upload_image", status=NodeStatus.SUCCESS, output=image),
        NodeView(node_id="half", node_type="crop_image", status=NodeStatus.SUCCESS, output=image),
        NodeView(
            node_id="out", node_type="response", status=NodeStatus.SUCCESS, output=RecordValue(fields={"a": image})
        ),
        NodeView(node_id="open", node_type="crop_image", status=NodeStatus.QUEUED),
    )
    dependencies.runs.get.return_value = RunView(run_id=UUID(int=1), status=RunStatus.RUNNING, nodes=nodes)
    listed = (await client.get(f"/api/workflows/runs/{UUID(int=1)}/assets")).json()["assets"]
    assert [item["nodeId"] for item in listed] == ["photo", "half", "out"]
    assert ["size=original" in item["url"] for item in listed] == [False, True, False]
    for item in listed:
        assert opened(await stranger.get(item["url"])).size == (400, 200)
