"""`weft workflows`: what it asks of the gateway, and what it writes."""

import json
from uuid import UUID

import httpx2
import pytest

from cli.errors import ExitCode
from cli.main import run_command

ID = UUID(int=9)
KEPT = {"id": str(ID), "version": 2, "name": "halves", "createdAt": "2026-01-01T00:00:00Z"}
GRAPH = {"nodes": [{"id": "say", "type": "text", "params": {}}], "edges": []}
PROBLEM = {"code": "unknown_type", "message": "there is no node type 'x'", "nodeId": "a"}
PATH = f"/api/workflows/{ID}"


@pytest.fixture
def asked(monkeypatch):
    """What the gateway was asked: method, path and body, in order; it answers as one does."""
    asked, connect = [], httpx2.AsyncClient
    answers = {
        "GET /api/workflows": {"workflows": [KEPT], "nextCursor": "more"},
        "POST /api/workflows/validate": {"valid": False, "problems": [PROBLEM]},
        f"GET {PATH}/export": GRAPH,
    }

    def answer(request):
        place = f"{request.method} {request.url.path}"
        asked.append((place, dict(request.url.params), json.loads(request.content or "null")))
        return (
            httpx2.Response(204) if request.method == "DELETE" else httpx2.Response(200, json=answers.get(place, KEPT))
        )

    monkeypatch.setattr(
        "httpx2.AsyncClient",
        lambda *, base_url, **_: connect(base_url=base_url, transport=httpx2.MockTransport(answer)),
    )
    monkeypatch.setenv("WEFT_GATEWAY_URL", "http://gateway.test")
    return asked


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "flow.json"
    path.write_text(json.dumps(GRAPH))
    return str(path)


def test_a_list_is_a_table_or_a_page(asked, capsys):
    assert run_command(["workflows", "list", "--limit", "5"]) == ExitCode.OK
    assert "halves" in capsys.readouterr().out
    assert run_command(["workflows", "list", "--cursor", "here", "-o", "json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["nextCursor"] == "more"
    assert [params for _, params, _ in asked] == [{"limit": "5"}, {"limit": "50", "cursor": "here"}]


def test_a_version_can_be_asked_for(asked, capsys):
    assert run_command(["workflows", "get", str(ID), "--version", "1", "-o", "json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["name"] == "halves"
    assert asked == [(f"GET {PATH}", {"version": "1"}, None)]


def test_a_file_is_kept_as_a_new_workflow_or_as_a_new_version(asked, file):
    assert run_command(["workflows", "save", file, "--name", "new"]) == ExitCode.OK
    assert run_command(["workflows", "save", file, "--id", str(ID), "--version", "1"]) == ExitCode.OK
    (created, _, draft), (updated, _, update) = asked
    assert (created, draft["name"]) == ("POST /api/workflows", "new")
    assert (updated, update["version"]) == (f"PUT {PATH}", 1)
    assert draft["graph"]["nodes"] == update["graph"]["nodes"] == [{"id": "say", "type": "text", "params": {}}]


def test_what_the_gateway_finds_wrong_is_told(asked, file, capsys):
    assert run_command(["workflows", "validate", file]) == ExitCode.USAGE
    assert "unknown_type" in capsys.readouterr().err
    assert asked[0][2] == {"graph": GRAPH}


def test_what_is_no_workflow_is_not_sent(asked, tmp_path, capsys):
    path = tmp_path / "list.json"
    path.write_text("[]")
    assert run_command(["workflows", "validate", str(path)]) == ExitCode.USAGE
    assert "invalid_workflow" in capsys.readouterr().err
    assert asked == []


def test_a_workflow_is_deleted_when_that_was_confirmed(asked, capsys):
    assert run_command(["workflows", "delete", str(ID)]) == ExitCode.USAGE
    assert asked == []
    assert run_command(["workflows", "delete", str(ID), "-y"]) == ExitCode.OK
    assert [place for place, _, _ in asked] == [f"DELETE {PATH}"]


def test_an_export_is_json_alone(asked, capsys):
    assert run_command(["workflows", "export", str(ID)]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == GRAPH
