"""What both clients ask of the gateway where they look at what happened and at what there is, and how they read it."""

import json
from datetime import UTC, datetime
from uuid import UUID

import httpx2
import pytest

from shared.client import AsyncClient, Client
from shared.contracts.states import NodeStatus
from shared.contracts.values import ValueType

RUN, WORKFLOW = UUID(int=7), UUID(int=9)
RUNS = "/api/workflows/runs"
ENTRY = {"nodeId": "a", "status": "success", "attempt": 1, "queueSeconds": 0.5}
ASSET = {"key": "images/ab/x.png", "mediaType": "image/png", "size": 9, "width": 3, "height": 2}
KEPT = {"id": str(WORKFLOW), "version": 1, "name": "x", "createdAt": "2026-01-01T00:00:00Z"}
TYPE = {"name": "text", "title": "Text", "executedBy": "orchestrator", "inputs": [], "output": "text", "params": {}}
STATISTICS = {"since": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z", "total": {"runs": 3}}
PICTURE = {"nodeId": "a", "asset": ASSET, "url": "/pictures/x", "thumbnailUrl": "/pictures/y"}
RUN_ACCEPTED = {"runId": str(RUN), "status": "queued"}
ANSWERS = {
    f"GET {RUNS}/{RUN}/timeline": {"runId": str(RUN), "entries": [ENTRY]},
    f"GET {RUNS}/by-trigger/a%2Fb%20c%3F": {"runId": str(RUN), "status": "queued"},
    f"GET {RUNS}/{RUN}/assets": {"assets": [PICTURE]},
    f"GET /api/workflows/{WORKFLOW}/statistics": STATISTICS,
    "POST /api/workflows/import": KEPT,
    "GET /api/node-types": {"nodeTypes": [TYPE]},
}
SINCE = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def asked(monkeypatch):
    """What the gateway was asked, query and body included; it answers as one does."""
    asked, connect = [], httpx2.AsyncClient

    def answer(request):
        path = request.url.raw_path.decode().partition("?")[0]
        asked.append((dict(request.url.params), json.loads(request.content or "null")))
        return httpx2.Response(200, json=ANSWERS[f"{request.method} {path}"])

    monkeypatch.setattr(
        "httpx2.AsyncClient",
        lambda *, base_url, **_: connect(base_url=base_url, transport=httpx2.MockTransport(answer)),
    )
    return asked


async def test_what_happened_is_asked_for(asked):
    async with AsyncClient("http://gateway.test") as gateway:
        (entry,) = (await gateway.timeline(RUN)).entries
        assert (entry.status, entry.queue_seconds) == (NodeStatus.SUCCESS, 0.5)
        assert (await gateway.find_run("a/b c?")).run_id == RUN
        assert (await gateway.pictures(RUN)).assets[0].asset.width == 3
        assert (await gateway.statistics(WORKFLOW, since=SINCE)).total.runs == 3
    assert asked[-1] == ({"since": "2026-01-01T00:00:00+00:00"}, None)


async def test_what_there_is_is_asked_for_and_a_file_is_kept(asked):
    async with AsyncClient("http://gateway.test") as gateway:
        (node_type,) = (await gateway.node_types()).node_types
        assert (node_type.executed_by, node_type.output) == ("orchestrator", ValueType.TEXT)
        assert (await gateway.import_workflow({"nodes": []})).id == WORKFLOW
    assert asked[-1] == ({}, {"nodes": []})


@pytest.fixture
def patience(monkeypatch):
    """How many seconds each request waited for its answer, and for a connection."""
    patience, connect = [], httpx2.AsyncClient

    def answer(request):
        timeout = request.extensions["timeout"]
        patience.append((timeout["read"], timeout["connect"]))
        letters = request.url.path.startswith("/api/dead-letters")
        return httpx2.Response(200, json={"results": [], "left": 0} if letters else RUN_ACCEPTED)

    monkeypatch.setattr(
        "httpx2.AsyncClient",
        lambda *, base_url, timeout, **_: connect(
            base_url=base_url, timeout=timeout, transport=httpx2.MockTransport(answer)
        ),
    )
    return patience


async def test_who_asks_the_gateway_to_wait_waits_longer_than_it(patience):
    async with AsyncClient("http://gateway.test") as gateway:
        await gateway.execute(WORKFLOW, wait=60)
        await gateway.execute(WORKFLOW)
        await gateway.run(RUN)
    assert patience == [(90, 30), (30, 30), (30, 30)]


def test_the_blocking_client_waits_as_long(patience):
    with Client("http://gateway.test") as gateway:
        gateway.execute(WORKFLOW, wait=60)
    assert patience == [(90, 30)]


async def test_dead_letters_take_their_time_to_be_treated(patience):
    async with AsyncClient("http://gateway.test") as gateway:
        await gateway.replay_dead_letters({})
        await gateway.drop_dead_letters({})
    assert patience == [(120, 30)] * 2


def test_the_blocking_client_asks_the_same(asked):
    with Client("http://gateway.test") as gateway:
        assert len(gateway.timeline(RUN).entries) == 1
        assert gateway.find_run("a/b c?").run_id == RUN
        assert gateway.pictures(RUN).assets[0].node_id == "a"
        assert gateway.statistics(WORKFLOW, until=SINCE).total.runs == 3
        assert gateway.node_types().node_types[0].name == "text"
        assert gateway.import_workflow({"nodes": []}).version == 1
    assert asked[3][0] == {"until": "2026-01-01T00:00:00+00:00"}
