"""Server processes are found again by who they are, stopped with all that they started, and explained by their log."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from shared.contracts.errors import UnavailableError
from shared.embedded.processes import (
    RunningProcess,
    Server,
    accepts_connections,
    clean_environment,
    free_port,
    lost_port,
)

STUBBORN = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
child.wait()
"""


def has_ended(process: psutil.Process) -> bool:
    """Tell whether a process has ended; one whose new parent has not asked for its exit code yet has, too."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def spawn(folder: Path, code: str) -> Server:
    return Server.spawn(
        "example",
        [sys.executable, "-c", code],
        log=folder / "example.log",
        record=lambda process: None,
        env=dict(os.environ),
    )


def test_a_process_is_found_by_its_number_and_start_time():
    this = RunningProcess.this()
    found = this.find()
    assert found is not None
    assert found.pid == os.getpid()
    assert this.model_copy(update={"created": this.created - 60}).find() is None


def test_a_process_of_the_same_number_that_started_later_is_left_alone():
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, start_new_session=True) as other:
        created = psutil.Process(other.pid).create_time()
        RunningProcess(name="gone", pid=other.pid, created=created + 60, grace=0).stop()
        assert other.poll() is None


def test_stop_ends_the_whole_session_also_of_a_process_that_ignores_the_signal(tmp_path: Path):
    server = spawn(tmp_path, STUBBORN)
    server.wait_until(lambda: server.log.read_text().endswith("\n"), timeout=20, cancelled=threading.Event())
    child = psutil.Process(int(server.log.read_text()))
    stubborn = server.running.model_copy(update={"grace": 0.1})
    Server(server.process, stubborn, server.log).stop()
    assert server.process.returncode is not None
    assert has_ended(child)


def test_a_session_whose_leader_has_ended_is_stopped_too(tmp_path: Path):
    server = spawn(tmp_path, STUBBORN)
    server.wait_until(lambda: server.log.read_text().endswith("\n"), timeout=20, cancelled=threading.Event())
    child = psutil.Process(int(server.log.read_text()))
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    server.stop()
    assert has_ended(child)


def test_a_server_that_ends_early_is_explained_by_its_log(tmp_path: Path):
    server = spawn(tmp_path, "print('starting'); raise SystemExit('no space left')")
    with pytest.raises(UnavailableError, match=r"example_start_failed.*exit code 1.*no space left.*example\.log"):
        server.wait_until(lambda: False, timeout=20, cancelled=threading.Event())


def test_a_start_that_is_given_up_or_takes_too_long_fails(tmp_path: Path):
    server = spawn(tmp_path, STUBBORN)
    cancelled = threading.Event()
    with pytest.raises(UnavailableError, match="was not ready after 0 s"):
        server.wait_until(lambda: False, timeout=0, cancelled=cancelled)
    cancelled.set()
    with pytest.raises(UnavailableError, match="given up"):
        server.wait_until(lambda: False, timeout=20, cancelled=cancelled)
    Server(server.process, server.running.model_copy(update={"grace": 0.1}), server.log).stop()


def test_a_program_that_cannot_be_run_is_named(tmp_path: Path):
    with pytest.raises(UnavailableError, match=r"example_start_failed.*/no/such/program"):
        Server.spawn("example", ["/no/such/program"], log=tmp_path / "example.log", record=lambda process: None, env={})


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ('LOG:  could not bind IPv4 address "127.0.0.1": Address already in use', True),
        ("{listen_error,{127,0,0,1},5672,eaddrinuse}", True),
        ("distribution port 25672 in use by another node", True),
        ("FATAL: data directory has wrong ownership", False),
    ],
)
def test_a_lost_port_is_recognised_in_the_log(tmp_path: Path, text: str, lost: bool):
    (tmp_path / "server.log").write_text(f"{text}\n")
    assert lost_port(tmp_path) is lost


def test_a_free_port_is_one_that_nothing_listens_on():
    assert not accepts_connections(free_port())


def test_a_free_port_is_given_once():
    ports = [free_port() for _ in range(1_000)]
    assert len({*ports}) == len(ports)


def test_variables_that_would_redirect_a_server_are_left_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RABBITMQ_NODENAME", "other@host")
    monkeypatch.setenv("WEFT_KEPT", "yes")
    environment = clean_environment("RABBITMQ_", "ERL_")
    assert "RABBITMQ_NODENAME" not in environment
    assert environment["WEFT_KEPT"] == "yes"
