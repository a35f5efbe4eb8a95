"""`weft dev`: one per folder, services that crash come back, and nothing is ever left running."""

import os
import re
import signal
import subprocess

import pytest
from tests.e2e.dev import WEFT, Dev, processes_of, services_of

from shared.embedded.processes import clean_environment


@pytest.fixture
def dev(stack, tmp_path):
    """One on the broker and the database of the tests."""
    known = {
        "WEFT_AMQP_URL": stack.amqp_url,
        "WEFT_DATABASE_URL": stack.database_url,
        "WEFT_API_KEY": stack.api_key.get_secret_value(),
    }
    dev = Dev(tmp_path / "home", clean_environment("WEFT_") | known)
    yield dev
    dev.close()


def test_dev_runs_until_it_is_asked_to_stop(dev):
    dev.wait_for("all services are ready")
    assert (dev.home / "services.json").stat().st_mode & 0o777 == 0o600
    pids = dev.pids()
    assert set(pids) == {"gateway", "orchestrator", "run_tracker", "crop_worker", "llm_worker", "offline_model"}
    assert services_of(dev.home) == set(pids.values())

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
    assert services_of(dev.home) == set(left.values())
    dev.process = dev.start()
    dev.wait_for("all services are ready")
    assert services_of(dev.home) == set(dev.pids().values())
    assert not set(dev.pids().values()) & set(left.values())


def test_a_start_that_is_interrupted_leaves_nothing(dev):
    dev.wait_for("starting")
    exit_code, _, err = dev.end(signal.SIGTERM)
    assert exit_code == 130
    assert "Traceback" not in err
    assert processes_of(dev.home) == []
    assert not list(dev.home.glob("*.json"))
