"""`weft dev`: one per folder, services that crash come back, and nothing is ever left running."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

WEFT = Path(sys.executable).with_name("weft")
STOP_SECONDS = 60


class Dev:
    """A `weft dev` in a folder of its own, on the broker and the database of the tests."""

    def __init__(self, home, stack):
        self.home = home
        addresses = {"WEFT_HOME": str(home), "WEFT_AMQP_URL": stack.amqp_url, "WEFT_DATABASE_URL": stack.database_url}
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("WEFT_")} | addresses
        self.process = self.start()

    def start(self):
        pipe = subprocess.PIPE
        return subprocess.Popen([WEFT, "dev"], stdout=pipe, stderr=pipe, text=True, env=self.env)

    def wait_for(self, pattern):
        """Return the match in the next line of stderr that has one."""
        assert self.process.stderr
        seen = []
        for line in self.process.stderr:
            seen.append(line)
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"ended without {pattern!r}: {''.join(seen)}")

    def pids(self):
        services = json.loads((self.home / "services.json").read_text())["services"]
        return {name: service["pid"] for name, service in services.items()}

    def end(self, number):
        """Send a signal, and return the exit code and what was written last."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=STOP_SECONDS)
        return self.process.returncode, out, err


@pytest.fixture
def dev(stack, tmp_path):
    dev = Dev(tmp_path / "home", stack)
    yield dev
    if dev.process.poll() is None:
        dev.end(signal.SIGTERM)
    for stream in (dev.process.stdout, dev.process.stderr):
        assert stream
        stream.close()
    assert processes_of(dev.home) == []


def processes_of(home):
    found = {process.pid: process.info for process in psutil.process_iter(["open_files"])}
    logs = str(home / "logs")
    return [pid for pid, info in found.items() if any(file.path.startswith(logs) for file in info["open_files"] or ())]


def test_dev_runs_until_it_is_asked_to_stop(dev):
    dev.wait_for("all services are ready")
    assert (dev.home / "services.json").stat().st_mode & 0o777 == 0o600
    pids = dev.pids()
    assert set(pids) == {"gateway", "orchestrator", "run_tracker", "crop_worker", "llm_worker", "offline_model"}
    assert set(processes_of(dev.home)) == set(pids.values())

    second = subprocess.run([WEFT, "dev"], capture_output=True, text=True, env=dev.env, timeout=60, check=False)
    assert second.returncode == 69
    assert re.fullmatch(rf"weft: stack_already_running: .*process {dev.process.pid} .*\n", second.stderr)

    exit_code, out, err = dev.end(signal.SIGINT)
    assert exit_code == 0
    assert "gateway" in out
    assert err.endswith("weft: stopped; nothing is left running\n")
    assert processes_of(dev.home) == []
    assert not list(dev.home.glob("*.json"))


def test_a_service_that_crashes_is_started_again(dev):
    dev.wait_for("all services are ready")
    before = dev.pids()
    os.kill(before["crop_worker"], signal.SIGKILL)
    dev.wait_for(r"crop_worker ended with exit code -9; starting it again in 1 s")
    pid = int(dev.wait_for(r"crop_worker was started again, as process (\d+)")[1])
    after = dev.pids()
    assert after.pop("crop_worker") == pid != before.pop("crop_worker")
    assert after == before


def test_what_a_killed_supervisor_leaves_is_stopped_by_the_next(dev):
    dev.wait_for("all services are ready")
    left = dev.pids()
    dev.process.kill()
    dev.process.communicate()
    assert set(processes_of(dev.home)) == set(left.values())
    dev.process = dev.start()
    dev.wait_for("all services are ready")
    assert set(processes_of(dev.home)) == set(dev.pids().values())
    assert not set(dev.pids().values()) & set(left.values())


def test_a_start_that_is_interrupted_leaves_nothing(dev):
    dev.wait_for("starting")
    exit_code, _, err = dev.end(signal.SIGTERM)
    assert exit_code == 130
    assert "Traceback" not in err
    assert processes_of(dev.home) == []
    assert not list(dev.home.glob("*.json"))
