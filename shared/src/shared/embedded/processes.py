"""Server processes: started in a session of their own, recorded so that they can be found again, and stopped.

The processes of a session are found by the session's id, which the kernel does not give to anything else while
one of them lives. A recorded process is believed to be the one recorded only if its start time agrees too.
Nothing asks the kernel to end the servers when their owner dies: PR_SET_PDEATHSIG acts on the end of the
starting thread, exists on Linux only, and would kill a broker in the middle of its own orderly stop. What a
killed owner leaves behind is stopped by the next start instead.
"""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypedDict

import psutil
from pydantic import BaseModel, ConfigDict

from shared.contracts.errors import UnavailableError, unavailable

POLL_SECONDS = 0.05
KILL_SECONDS = 10.0
_CLOCK_TOLERANCE_SECONDS = 2.0
_TAIL_BYTES = 20_000
_CAUSE_LINES = 5
_PORT_TAKEN = ("address already in use", "eaddrinuse", "in use by another")

_given_ports: set[int] = set()


class RunningProcess(BaseModel):
    """A process and when it started (seconds since the epoch), which tells it from a later one of the same id.

    `stop_signal` asks it for an orderly stop, for which it has `grace` seconds.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    pid: int
    created: float
    stop_signal: int = int(signal.SIGTERM)
    grace: float = 20.0

    @classmethod
    def this(cls) -> Self:
        """Return the calling process."""
        return cls(name="owner", pid=os.getpid(), created=psutil.Process().create_time())

    def find(self) -> psutil.Process | None:
        """Return the process if it still runs."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < _CLOCK_TOLERANCE_SECONDS
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None

    def stop(self) -> None:
        """Stop the process and all of its session, in order at first, by force after `grace`; returns when gone."""
        leader, members = self.find(), _session_members(self)
        for process in members if leader is None else [leader]:
            _signal(process, self.stop_signal)
        psutil.wait_procs(members, timeout=self.grace)
        for process in _session_members(self):
            _signal(process, signal.SIGKILL)
            process.wait(KILL_SECONDS)


def _session_members(record: RunningProcess) -> list[psutil.Process]:
    """Return the live processes of the session that the recorded process led, itself included."""
    members = [process for process in psutil.process_iter() if _session_of(process.pid) == record.pid]
    oldest = record.created - _CLOCK_TOLERANCE_SECONDS
    return [process for process in members if _started_after(process, oldest)]


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _started_after(process: psutil.Process, moment: float) -> bool:
    try:
        return process.create_time() >= moment and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:  # it ended by itself, which is what the signal was for
        return


@dataclass(frozen=True)
class Account:
    """A user of this machine, by number; `None` in its place means the user that we are."""

    uid: int
    gid: int


Record = Callable[[RunningProcess], None]


@dataclass(frozen=True)
class Server:
    """A server process that we started: its handle, its record and the file that it logs to."""

    process: subprocess.Popen[bytes]
    running: RunningProcess
    log: Path

    @classmethod
    def spawn(
        cls,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        record: Record,
        env: Mapping[str, str],
        account: Account | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> Self:
        """Start the command in a session of its own, so that Ctrl-C at the terminal does not reach it.

        `record` is called with the process at once. The folder of the log is the working directory.
        """
        process = _spawn(name, command, log, env, account)
        created = psutil.Process(process.pid).create_time()
        running = RunningProcess(name=name, pid=process.pid, created=created, stop_signal=stop_signal)
        record(running)
        return cls(process, running, log)

    def stop(self) -> None:
        """Stop it and all that it started; returns when nothing of it is left."""
        self.running.stop()
        self.process.wait(KILL_SECONDS)

    def wait_until(self, ready: Callable[[], bool], *, timeout: float, cancelled: threading.Event) -> None:
        """Return when `ready`; raise UnavailableError `<name>_start_failed` if it ends, or is not ready in time."""
        deadline = time.monotonic() + timeout
        while not ready():
            if self.process.poll() is not None:
                raise self.failed(f"{self.running.name} ended with exit code {self.process.returncode}")
            if time.monotonic() > deadline:
                raise self.failed(f"{self.running.name} was not ready after {timeout:.0f} s")
            if cancelled.wait(POLL_SECONDS):
                raise self.failed(f"the start of {self.running.name} was given up")

    def failed(self, message: str) -> UnavailableError:
        """Return the error of a start that failed, with what the log says of it."""
        return start_failed(self.running.name, message, self.log)


def _spawn(
    name: str, command: Sequence[str | Path], log: Path, env: Mapping[str, str], account: Account | None
) -> subprocess.Popen[bytes]:
    try:
        with log.open("wb") as output:
            return subprocess.Popen(  # noqa: S603 -- the command is ours
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=log.parent,
                start_new_session=True,
                **run_as(account),
            )
    except OSError as err:
        raise start_failed(name, f"{command[0]} cannot be run: {err}", log) from err


def start_failed(name: str, message: str, log: Path) -> UnavailableError:
    """Return the error of a server that did not start, with the last lines of its log as the cause."""
    cause = " | ".join(line for line in tail(log)[-_CAUSE_LINES:])
    full = f"{message}: {cause}" if cause else message
    return unavailable(f"{name}_start_failed", full, where=str(log), fix="read the log file, and start again")


def tail(log: Path) -> list[str]:
    """Return the last lines of a log file that are not blank; none if there is no such file."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        text = file.read().decode(errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def lost_port(folder: Path) -> bool:
    """Tell whether a log in that folder says that another process took a port first."""
    text = " ".join(line for log in folder.glob("*.log") for line in tail(log)).lower()
    return any(words in text for words in _PORT_TAKEN)


class UserArguments(TypedDict, total=False):
    """The arguments of `subprocess` that choose the user."""

    user: int
    group: int
    extra_groups: list[int]


def run_as(account: Account | None) -> UserArguments:
    """Return the arguments that make `subprocess` run a command as that user."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def free_port() -> int:
    """Return a TCP port of the loopback interface that nothing listens on; another one each time in a process.

    The system may offer one twice while nobody listens on it yet: two servers that are started later would share it.
    """
    port = 0
    while not port or port in _given_ports:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
    _given_ports.add(port)
    return port


def accepts_connections(port: int) -> bool:
    """Tell whether something on the loopback interface listens on the port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def clean_environment(*prefixes: str) -> dict[str, str]:
    """Return our environment without the variables of these prefixes, which would redirect a server elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
