"""The whole system as its users see it: the gateway's API, the model stand-in's controls, the services' processes."""

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2

from cli.supervisor import GATEWAY, Supervisor
from shared.contracts.queries import RunView
from shared.contracts.states import FINAL_RUN_STATUSES

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
_TELL_OF_ALL_NODES = frozenset({"run.snapshot", "run.queued", "run.started"})
PATIENCE = 60.0  # seconds; a limit for a broken system, never waited for in a working one


class System:
    """What a test needs to drive and to disturb a running system."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self._model = httpx2.Client(base_url=supervisor.llm_base_url.removesuffix("/v1"), timeout=PATIENCE)

    @property
    def api(self) -> httpx2.Client:
        """A client of the gateway, on a connection of its own: the gateway may have been killed since the last."""
        key = self.supervisor.settings.api_key
        assert key
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"}
        return httpx2.Client(base_url=self.supervisor.service_url(GATEWAY), timeout=PATIENCE, headers=headers)

    def close(self) -> None:
        """Close the connection to the model stand-in."""
        self._model.close()

    def start_sample_run(
        self, workflow_id: str | None = None, *, headers: Mapping[str, str] | None = None, **wishes: Any
    ) -> str:
        """Upload the sample photograph, save the sample workflow, execute it; return the run's id.

        `headers` and `wishes`, further fields, are those of the request that executes it.
        """
        with self.api as api:
            photo = (EXAMPLES / "photo.jpg").read_bytes()
            asset = _json(api.post("/api/uploads", files={"file": ("photo.jpg", photo)}))["asset"]
            graph = json.loads((EXAMPLES / "workflow.json").read_text())
            draft = {"graph": graph} if workflow_id is None else {"id": workflow_id, "graph": graph}
            workflow = _json(api.post("/api/workflows", json=draft))
            body = {"inputs": {"photo": {"type": "image", "asset": asset}}, **wishes}
            return _json(api.post(f"/api/workflows/{workflow['id']}/execute", json=body, headers=headers))["runId"]

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """Return the gateway's answer to a request that it accepts."""
        with self.api as api:
            return _json(api.post(path, json=body))

    def get(self, path: str) -> dict[str, Any]:
        """Return what the gateway shows at a path."""
        with self.api as api:
            return _json(api.get(path))

    def events(self, run_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the run's events as they come, until its stream ends."""
        with self.api as api, api.stream("GET", f"/api/workflows/runs/{run_id}/events") as response:
            for event in httpx2.EventSource(response):
                yield event.event, json.loads(event.data)

    def wait_for(self, run_id: str, kind: str, count: int = 1) -> None:
        """Return when as many nodes were told to be so far as events of a kind tell, by these or of all at once."""
        wanted = {"node.queued": "queued", "node.started": "running", "node.retrying": "retrying"}.get(kind)
        seen: set[str] = set()
        for name, data in self.events(run_id):
            if name in _TELL_OF_ALL_NODES:
                seen |= {node["nodeId"] for node in data["nodes"] or () if node["status"] == wanted}
            elif name == kind:
                seen.add(data.get("nodeId", kind))
            if len(seen) >= count:
                return
        raise AssertionError(f"the run ended before {count} x {kind}")

    def finished(self, run_id: str) -> RunView:
        """Follow a run to its end and return it as it is recorded, which may be a moment after the end is told."""
        for _ in self.events(run_id):
            pass
        deadline = time.monotonic() + PATIENCE
        while True:
            run = RunView.model_validate(self.get(f"/api/workflows/runs/{run_id}"))
            if run.status in FINAL_RUN_STATUSES:
                return run
            assert time.monotonic() < deadline, f"the end of run {run_id} is told, and is not recorded"

    def hold_model_calls(self, times: int) -> None:
        """Let the next calls of the model wait until they are released."""
        self._model.post("/control/behaviours", json=[{"kind": "hold", "times": times}]).raise_for_status()

    def script_model(self, *behaviours: dict[str, Any]) -> None:
        """Let the next calls of the model be answered so, each behaviour used once, in order."""
        self._model.post("/control/behaviours", json=list(behaviours)).raise_for_status()

    def wait_until_held(self, count: int) -> None:
        """Return when that many calls of the model wait."""
        reached = _json(self._model.get("/control/calls", params={"held": count, "timeout": PATIENCE}))["reached"]
        assert reached, f"{count} calls of the model were expected to wait"

    def wait_until_none_is_held(self) -> None:
        """Return when no call of the model waits any more."""
        reached = _json(self._model.get("/control/calls", params={"held_at_most": 0, "timeout": PATIENCE}))["reached"]
        assert reached, "calls of the model still wait"

    def release_model_calls(self) -> None:
        """Let waiting calls of the model go on, and those to come not wait."""
        self._model.delete("/control/behaviours").raise_for_status()
        self._model.post("/control/release").raise_for_status()

    def model_calls(self) -> int:
        """Return how often the model was called so far."""
        return _json(self._model.get("/control/calls"))["made"]


def _json(response: httpx2.Response) -> dict[str, Any]:
    assert response.is_success, response.text
    return response.json()


def finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Return the exit code, stdout and stderr of a command once it ends; it shows no traceback."""
    out, err = process.communicate(timeout=2 * PATIENCE)
    assert "Traceback" not in err
    return process.returncode, out, err
