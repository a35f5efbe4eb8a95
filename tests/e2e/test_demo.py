"""`weft demo` as a newcomer runs it: nothing is there before, nothing runs afterwards."""

import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
from PIL import Image

WEFT = Path(sys.executable).with_name("weft")


def run_demo(folder, **variables):
    env = {name: value for name, value in os.environ.items() if not name.startswith("WEFT_")} | variables
    return subprocess.run([WEFT, "demo"], capture_output=True, text=True, timeout=300, check=False, cwd=folder, env=env)


def test_the_demo_starts_everything_shows_its_results_and_stops_everything(tmp_path):
    done = run_demo(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "9 of 9 nodes succeeded" in done.stdout
    answers = re.findall(r"^  (.+): \[Weft's offline stand-in", done.stdout, re.MULTILINE)
    assert answers == ["Describe left", "Describe middle", "Describe right", "Join"]
    crops = re.findall(r"^  \w+ third: (.+) \((\d+) x (\d+)\)$", done.stdout, re.MULTILINE)
    assert [size_of(path) for path, *_ in crops] == [(213, 427), (214, 427), (213, 427)]
    assert "WEFT_LLM_BASE_URL" in done.stdout
    assert re.search(r"Start-up took [\d.]+ s, the run [\d.]+ s\.", done.stdout)
    assert_nothing_runs_in(tmp_path)


def test_the_demo_uses_what_runs_already(running_system, tmp_path):
    supervisor = running_system.supervisor
    pids = [supervisor.pid(name) for name in supervisor.names]
    done = run_demo(tmp_path, WEFT_HOME=str(supervisor.settings.home))
    assert done.returncode == 0, done.stderr
    assert "using what runs already" in done.stderr
    assert "9 of 9 nodes succeeded" in done.stdout
    assert all(psutil.pid_exists(pid) for pid in pids)
    assert [supervisor.pid(name) for name in supervisor.names] == pids


def size_of(path):
    with Image.open(path) as image:
        return image.size


def assert_nothing_runs_in(folder):
    for process in psutil.process_iter(["environ", "open_files"]):
        files = [file.path for file in process.info["open_files"] or ()]
        assert not any(path.startswith(str(folder)) for path in files), process
        assert str(folder) not in str(process.info["environ"]), process
    assert not list((folder / ".weft").glob("*.json"))
