"""What `-o json` writes: alone on stdout, and of the form that is written down in the snapshot beside this file."""

import json
from typing import Any
from uuid import UUID

import httpx2
import jsonschema_rs
import pytest
from tests.unit.test_cli_run_history import ENDED, TIMELINE, sse

from cli.doctor.findings import Report
from cli.errors import ExitCode
from cli.happenings import History
from cli.main import run_command
from shared.client.requests import Timeline, Validation, Workflow, WorkflowPage
from shared.contracts.base import Contract
from shared.contracts.dead_letters import DeadLetter, DeadLetterPage, LetterResult
from shared.contracts.history import PruneReply
from shared.contracts.queries import CostsBy, CostsReply, RunPage, RunView, WhyReply
from shared.contracts.queues import QueueDetails, QueuesView
from shared.contracts.states import RunStatus

RUN, WORKFLOW = UUID(int=7), UUID(int=9)
RUN_PATH, WORKFLOW_PATH = f"/api/workflows/runs/{RUN}", f"/api/workflows/{WORKFLOW}"
GRAPH = {"nodes": [{"id": "say", "type": "text", "params": {}}], "edges": []}
KEPT = {"id": str(WORKFLOW), "version": 2, "name": "halves", "createdAt": "2026-01-01T00:00:00Z", "graph": GRAPH}
COMPLETED = ENDED.model_copy(update={"status": RunStatus.COMPLETED})
ANSWERS = {
    RUN_PATH: COMPLETED,
    f"{RUN_PATH}/timeline": TIMELINE,
    f"{RUN_PATH}/why": WhyReply(status=RunStatus.COMPLETED),
    f"{RUN_PATH}/cancel": COMPLETED,
    f"{RUN_PATH}/replay": COMPLETED,
    f"{RUN_PATH}/resume": COMPLETED,
    f"{RUN_PATH}/events": sse(COMPLETED),
    "/api/workflows/runs": RunPage(runs=(ENDED.model_copy(update={"nodes": None}),), next_cursor="c"),
    "/api/workflows": {"workflows": [KEPT], "nextCursor": "c"},
    "/api/workflows/validate": {"valid": True, "problems": [], "graph": GRAPH},
    WORKFLOW_PATH: KEPT,
    "/api/costs": CostsReply(by=CostsBy.DAY),
}
COMMANDS: dict[str, type[Contract]] = {
    "runs list": RunPage,
    f"runs get {RUN}": RunView,
    f"runs watch {RUN}": RunView,
    f"runs why {RUN}": WhyReply,
    f"runs why {RUN} --watch": WhyReply,
    f"runs cancel {RUN} -y": RunView,
    f"runs replay {RUN}": RunView,
    f"runs resume {RUN}": RunView,
    f"runs events {RUN}": History,
    f"runs timeline {RUN}": Timeline,
    "workflows list": WorkflowPage,
    f"workflows get {WORKFLOW}": Workflow,
    "workflows validate FILE": Validation,
    f"workflows save FILE --id {WORKFLOW}": Workflow,
    "costs": CostsReply,
}
# Of these, the broker or the machine is asked; what they write is looked at elsewhere, its form is kept here.
OTHERS: tuple[type[Contract], ...] = (
    *(QueuesView, QueueDetails, DeadLetterPage, DeadLetter, LetterResult),
    *(PruneReply, Report),
)


@pytest.fixture
def gateway(monkeypatch):
    connect = httpx2.AsyncClient

    def answer(request):
        found = ANSWERS[request.url.path]
        if isinstance(found, httpx2.Response):
            return httpx2.Response(200, headers=found.headers, content=found.content)
        return httpx2.Response(200, json=found if isinstance(found, dict) else json.loads(found.to_json()))

    monkeypatch.setattr(
        "httpx2.AsyncClient",
        lambda *, base_url, **_: connect(base_url=base_url, transport=httpx2.MockTransport(answer)),
    )
    monkeypatch.setenv("WEFT_GATEWAY_URL", "http://gateway.test")


def closed(schema: Any) -> Any:
    """The schema, which allows no property that it does not name."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {name: closed(part) for name, part in schema.items()}
    return {**parts, "additionalProperties": False} if "properties" in parts else parts


@pytest.mark.parametrize(("command", "contract"), COMMANDS.items())
def test_json_alone_is_written_and_has_its_form(gateway, capsys, tmp_path, command, contract):
    (tmp_path / "flow.json").write_text(json.dumps(GRAPH))
    arguments = command.replace("FILE", str(tmp_path / "flow.json")).split()
    assert run_command([*arguments, "-o", "json"]) == ExitCode.OK
    (line,) = capsys.readouterr().out.splitlines()
    jsonschema_rs.validator_for(closed(contract.model_json_schema())).validate(json.loads(line))


def outline(schema):
    """The names of all properties, by the type that has them."""
    types = {**schema.get("$defs", {}), schema["title"]: schema}
    return {name: sorted(kind["properties"]) for name, kind in sorted(types.items()) if "properties" in kind}


@pytest.mark.parametrize("contract", sorted({*COMMANDS.values(), *OTHERS}, key=str))
def test_the_form_of_what_is_written_changes_by_intention_only(snapshot, contract):
    assert outline(contract.model_json_schema()) == snapshot
