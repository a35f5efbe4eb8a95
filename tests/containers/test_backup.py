"""docs/operations.md is kept: what it says to type backs up, and brings everything back after all volumes are gone."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen
from uuid import UUID

import pytest
from tests.containers.compose_project import PHOTO, ROOT, SECRETS, WORKFLOW, ComposeProject, running_project

from shared.client import Client
from shared.contracts.states import RunStatus

pytestmark = pytest.mark.containers

RUNBOOK = (ROOT / "docs" / "operations.md").read_text()
OPEN_RUNS = 3
PATIENCE = 240.0  # seconds; the orchestrator looks for lost jobs every 30 s, and must miss them twice
ATTEMPT_SECONDS = 5


def commands(heading: str) -> str:
    """Return the shell commands under a heading of the runbook."""
    section = re.search(rf"^### {heading}\n(.*?)(?=^##|\Z)", RUNBOOK, flags=re.MULTILINE | re.DOTALL)
    assert section
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", section[1], flags=re.MULTILINE | re.DOTALL))


@pytest.fixture
def project(docker: None) -> Iterator[ComposeProject]:
    """A project of the test's own: all of its data is deleted."""
    with running_project() as project:
        yield project


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    """The example, whose jobs may not take long: lost ones are soon missed."""
    content = json.loads(WORKFLOW.read_text())
    for node in content["nodes"]:
        if node["type"] in {"crop_image", "llm"}:
            node["timeout"] = ATTEMPT_SECONDS
    file = tmp_path / "workflow.json"
    file.write_text(json.dumps(content))
    return file


def start_runs_whose_jobs_stay_in_the_broker(project: ComposeProject, workflow: Path) -> list[UUID]:
    project.compose("stop", "llm_worker")
    how = ("--image", f"photo={PHOTO}", "--no-cache")
    return [UUID(project.weft("run", "start", str(workflow), *how)["runId"]) for _ in range(OPEN_RUNS)]


def pictures(project: ComposeProject, run_id: str) -> list[bytes]:
    """Return the pictures of a run, by the links that are given out for them."""
    url = f"{project.gateway_url}/api/workflows/runs/{run_id}/assets"
    with urlopen(Request(url, headers={"Authorization": f"Bearer {SECRETS['WEFT_API_KEY']}"})) as answer:
        links = [asset["url"] for asset in json.load(answer)["assets"]]
    return [urlopen(f"{project.gateway_url}{link}").read() for link in links]


def test_a_restored_back_up_has_everything_and_its_open_runs_end(
    project: ComposeProject, workflow: Path, tmp_path: Path
):
    finished = project.execute_example()
    shown, calls = pictures(project, finished["runId"]), project.weft("costs")["total"]["calls"]
    key = project.weft("keys", "create", "--owner", "shop", "--scope", "read")["key"]
    open_runs = start_runs_whose_jobs_stay_in_the_broker(project, workflow)

    project.shell(commands("Back up"), BACKUP=str(tmp_path / "backup"))
    project.shell(commands("Restore"), BACKUP=str(tmp_path / "backup"))

    assert project.weft("runs", "get", finished["runId"]) == finished
    assert pictures(project, finished["runId"]) == shown
    assert len(shown) == 4
    with Client(project.gateway_url, api_key=key) as shop:
        assert shop.list_workflows().workflows == ()
    with Client(project.gateway_url, api_key=SECRETS["WEFT_API_KEY"]) as weft:
        ended = [weft.wait(run_id, timeout=PATIENCE) for run_id in open_runs]
        assert {run.status for run in ended} == {RunStatus.COMPLETED}
        # Their jobs were lost with the broker, missed, and given out again; each model call is in the ledger once.
        assert all(max(node.attempt for node in run.nodes or ()) == 2 for run in ended)
        assert weft.costs().total.calls == calls + 4 * OPEN_RUNS
