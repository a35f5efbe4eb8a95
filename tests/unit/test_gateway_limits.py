"""What no client can do to the gateway: send for ever, read for ever, be misled by a page of somebody else's."""

import asyncio
from unittest.mock import AsyncMock

import httpx2
import pytest
from tests.unit.gateway_app import bearer, client_of, new_dependencies, problem

from gateway import body_limit
from gateway.app import create_app
from gateway.body_limit import BodyLimit
from gateway.views import WorkflowList
from shared.assets import AssetStore

PAGE = "https://canvas.example"


@pytest.fixture
def dependencies(tmp_path):
    dependencies = new_dependencies(AssetStore.from_url(tmp_path.as_uri()))
    dependencies.workflows.page = AsyncMock(return_value=WorkflowList(workflows=()))
    return dependencies


@pytest.fixture
async def client(dependencies):
    async with client_of(dependencies) as client:
        yield client


async def stalled():
    """A body whose second piece never comes."""
    yield b"{"
    await asyncio.Event().wait()


@pytest.mark.parametrize("limit", ["PIECE_SECONDS", "BODY_SECONDS"])
@pytest.mark.parametrize("path", ["/api/uploads", "/api/workflows"])
async def test_a_body_that_does_not_come_in_time_is_refused(client, monkeypatch, path, limit):
    monkeypatch.setattr(body_limit, limit, 0.05)
    monkeypatch.setattr(body_limit, "LINGER_SECONDS", 0.05)
    answer = await client.post(path, content=stalled(), headers={"content-type": "application/json"})
    problem(answer, 408, "request_timeout")
    assert answer.headers["connection"] == "close"


async def test_who_is_not_let_in_hears_of_it_though_they_send_a_body(dependencies):
    async with client_of(dependencies, key=None) as client:
        answer = await client.post("/api/uploads", content=b"x" * 1024 * 1024)
    problem(answer, 401, "unauthenticated")
    assert answer.headers["connection"] == "close"


async def test_a_client_that_takes_no_part_of_its_answer_is_left(monkeypatch):
    monkeypatch.setattr(body_limit, "SEND_SECONDS", 0.05)

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def never(*_):
        await asyncio.Event().wait()
        raise AssertionError

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    with pytest.raises(ConnectionAbortedError):
        await BodyLimit(app)(scope, never, never)


@pytest.mark.parametrize("path", ["/api/workflows", "/api/nowhere", "/openapi.json", "/nowhere"])
async def test_every_answer_tells_browsers_to_be_careful(client, path):
    headers = (await client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers


async def test_the_documentation_may_load_what_shows_it(client):
    answer = await client.get("/docs")
    assert answer.status_code == 200
    assert "content-security-policy" not in answer.headers


async def test_pages_of_the_origins_that_are_set_may_call_it_and_no_others(dependencies):
    app = create_app(dependencies, cors_origins=[PAGE])
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://gateway") as client:
        allowed = await client.options("/api/workflows", headers=asked)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, PAGE)
        refused = await client.options("/api/workflows", headers={**asked, "Origin": "https://other.example"})
        assert refused.status_code == 400
        called = await client.get("/api/node-types", headers={**bearer("read"), "Origin": PAGE})
        assert called.headers["access-control-allow-origin"] == PAGE
        stranger = await client.get("/api/node-types", headers={"Origin": PAGE})
        assert (stranger.status_code, stranger.headers["access-control-allow-origin"]) == (401, PAGE)
