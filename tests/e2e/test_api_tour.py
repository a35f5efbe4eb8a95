"""docs/api.md is run as it stands: its shell commands as one script, its Python as another."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOUR = (ROOT / "docs" / "api.md").read_text()
SECONDS = 120


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TOUR, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path):
    """A folder with the samples of the checkout, where the commands may leave files."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    return tmp_path


def run(command, script, system, folder):
    environment = {
        **os.environ,
        "WEFT_API_KEY": system.supervisor.settings.api_key.get_secret_value(),
        "WEFT_GATEWAY_URL": str(system.api.base_url).rstrip("/"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    return subprocess.run(
        command, input=script, cwd=folder, env=environment, text=True, capture_output=True, timeout=SECONDS, check=False
    )


def test_the_commands_of_the_tour_do_what_it_says(system, folder):
    script = "".join(blocks("sh"))
    assert script.count("curl") > 10
    ended = run(["bash", "-euo", "pipefail", "-s"], script, system, folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert (folder / "events.txt").read_text().startswith("event: run.snapshot")
    assert ended.stdout.rstrip().endswith("completed")


def test_the_python_of_the_tour_does_what_it_says(system, folder):
    (script,) = blocks("python")
    ended = run([sys.executable, "-"], script, system, folder)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.split()
    assert lines[0] == "run.snapshot"
    assert lines[-2] in {"run.finished", "run.snapshot"}  # a run whose outputs are reused may have ended by then
    assert lines[-1] == "completed"
