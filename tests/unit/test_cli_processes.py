"""Processes of the supervisor, with real ones: launched, killed, stopped, found again; and when they are revived."""

import json
import os
import signal
import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from cli.interrupts import interrupted_once
from cli.service_process import ServiceProcess
from cli.services_file import ServiceRecord, ServicesFile
from cli.supervisor import Supervisor
from cli.watcher import FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, STEADY_SECONDS, Revival
from shared.contracts.errors import UnavailableError
from shared.embedded.processes import RunningProcess, free_port
from shared.settings import Settings

# A service in miniature: `python -m cli.launch service` runs it.
SERVICE = """
import os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

def main():
    print("model", os.environ.get("WEFT_LLM_MODEL"), os.environ.get("WEFT_HOME"), flush=True)
    HTTPServer((os.environ["WEFT_HTTP_HOST"], int(os.environ["WEFT_HTTP_PORT"])), Handler).serve_forever()
"""


@pytest.fixture
def records():
    return []


@pytest.fixture
def service(tmp_path, monkeypatch, records):
    (tmp_path / "service.py").write_text(SERVICE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("WEFT_HOME", "not handed on")
    service = ServiceProcess(
        "service",
        lambda _: ("cli.launch", "service"),
        port=free_port(),
        log=tmp_path / "service.log",
        record=records.append,
        grace=5.0,
    )
    yield service
    service.stop()


def start(service):
    service.spawn()
    service.release({"WEFT_LLM_MODEL": "offline"})
    service.wait_ready()


def test_a_service_gets_the_settings_that_it_is_sent_and_no_others(service):
    start(service)
    assert service.log.read_text().startswith("model offline None\n")


def test_a_service_leads_a_session_of_its_own(service, records):
    start(service)
    assert os.getsid(service.pid) == service.pid != os.getsid(0)
    assert [record.pid for record in records] == [service.pid]
    assert records[0].find()


def test_a_killed_service_can_be_started_again_at_its_address(service, records):
    start(service)
    first, url = service.pid, service.url
    service.kill()
    assert service.exit_code == -signal.SIGKILL
    start(service)
    assert (service.pid != first, service.url) == (True, url)
    assert service.log.read_text().count("model offline") == 2
    assert len(records) == 2


def test_a_stopped_service_leaves_nothing(service, records):
    start(service)
    service.stop()
    assert records[0].find() is None
    service.stop()


def test_a_service_that_was_never_released_is_stopped_too(service, records):
    service.spawn()
    service.stop()
    assert records[0].find() is None


def test_a_service_that_ends_while_it_starts_is_told_with_its_last_words(service):
    (service.log.parent / "service.py").write_text("def main():\n    raise SystemExit('no way')\n")
    service.spawn()
    service.release({})
    with pytest.raises(UnavailableError, match="service_start_failed: service ended with exit code 1: no way"):
        service.wait_ready()


def test_a_service_whose_port_another_has_is_not_taken_for_ready(service):
    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

    with HTTPServer(("127.0.0.1", service.port), Other) as other:
        Thread(target=other.serve_forever, daemon=True).start()
        service.spawn()
        service.release({})
        with pytest.raises(UnavailableError, match=r"service_start_failed: .*ddress already in use"):
            service.wait_ready()
        other.shutdown()


def test_a_launched_process_whose_supervisor_died_runs_nothing(service):
    command = [sys.executable, "-m", "cli.launch", "service"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, b"")


def test_the_services_file_is_private_and_names_running_processes(tmp_path):
    file = ServicesFile(tmp_path)
    this = RunningProcess.this()
    file.add(ServiceRecord(name="gateway", pid=this.pid, created=this.created, url="http://127.0.0.1:1"))
    path = tmp_path / "services.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert file.running() is None
    file.publish(gateway_url="http://127.0.0.1:1", llm_base_url="http://127.0.0.1:2/v1")
    content = json.loads(path.read_text())
    assert content["gateway_url"] == "http://127.0.0.1:1"
    assert content["services"]["gateway"]["pid"] == this.pid
    assert ServicesFile(tmp_path).running()
    file.remove()
    assert not path.exists()


def test_the_file_of_a_supervisor_that_is_gone_names_nothing_that_runs(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    owner = {"name": "owner", "pid": gone.pid, "created": 1.0}
    (tmp_path / "services.json").write_text(json.dumps({"owner": owner, "gateway_url": "http://127.0.0.1:1"}))
    assert ServicesFile(tmp_path).running() is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"owner": 1}'])
def test_a_services_file_that_cannot_be_understood_names_nothing(tmp_path, content):
    (tmp_path / "services.json").write_text(content)
    assert ServicesFile(tmp_path).read() is None


def test_a_service_is_revived_soon_at_first_and_later_each_time():
    revival, now, delays = Revival(0.0), 0.0, []
    for _ in range(8):
        delay = revival.schedule(now)
        assert delay is not None
        assert revival.schedule(now) is None
        assert not revival.is_due(now + delay / 2)
        now += delay
        assert revival.is_due(now)
        delays.append(delay)
    assert delays[:4] == [FIRST_DELAY_SECONDS * 2**n for n in range(4)]
    assert delays[-1] == LONGEST_DELAY_SECONDS
    assert revival.schedule(now + STEADY_SECONDS + 1) == FIRST_DELAY_SECONDS


def test_a_taken_port_is_refused_before_anything_is_started(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        supervisor = Supervisor(tmp_path, Settings(), gateway_port=taken.getsockname()[1])
        with pytest.raises(UnavailableError, match="port_taken"):
            supervisor.start()
    assert not (tmp_path / "services.json").exists()
    assert list((tmp_path / "logs").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="home_unusable"):
        Supervisor(tmp_path / "file" / "home", Settings()).start()


def test_only_the_first_signal_interrupts():
    before = signal.getsignal(signal.SIGTERM)
    with interrupted_once():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        # A process that is being started would inherit it, and could not be stopped.
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_launcher_is_light():
    code = "import sys, cli.launch; print([name for name in ('pydantic', 'typer') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
