"""What all services write while a run is tried again, and while they are fed nonsense: no secret, no prompt."""

import json
from urllib.parse import urlsplit

import httpx2

from cli.supervisor import GATEWAY, SERVICES

PROMPT, TOKEN, CONTENT = "hush-what-is-it", "hush-0123456789abcdef", "hush-content"
GRAPH = {"nodes": [{"id": "ask", "type": "llm", "params": {"userMessage": PROMPT}}], "edges": []}


def test_lines_are_json_with_ids_and_hold_no_secret(system):
    system.script_model({"kind": "error", "status": 500}, {"kind": "garbage"})
    workflow = system.post("/api/workflows", graph=GRAPH)["id"]
    run_id = system.post(f"/api/workflows/{workflow}/execute", metadata={"note": CONTENT})["runId"]
    assert system.finished(run_id).status == "completed"
    _send_nonsense(system)
    logs = {name: (system.supervisor.settings.home / "logs" / f"{name}.log").read_text() for name in SERVICES}
    for name, written in logs.items():
        lines = [json.loads(line) for line in written.splitlines()]
        assert {line["service"] for line in lines} == {name}
        about_runs = [line for line in lines if "message_id" in line]
        assert all("run_id" in line for line in about_runs)
        assert not [secret for secret in (*_secrets(system), PROMPT, TOKEN, CONTENT) if secret in written]


def _send_nonsense(system):
    url = system.supervisor.service_url(GATEWAY)
    with system.api as api:
        assert api.post("/api/workflows", json={"graph": {"nodes": CONTENT}}).status_code == 422
        assert api.post("/api/workflows", content=f'{{"{CONTENT}'.encode()).status_code == 422
        assert api.post("/api/uploads", content=CONTENT.encode()).status_code == 415
    wrong = {"Authorization": f"Bearer {TOKEN}"}
    assert httpx2.get(f"{url}/api/workflows", headers=wrong, params={"q": CONTENT}).status_code == 401


def _secrets(system):
    settings = system.supervisor.settings
    for address in (settings.amqp_url, settings.database_url):
        yield from filter(None, [urlsplit(address).password])
    yield settings.api_key.get_secret_value()
    yield from settings.url_secrets.get_secret_value().split(",")
