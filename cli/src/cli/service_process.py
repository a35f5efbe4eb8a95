"""One service as a process of its own: started, waited for, killed, stopped."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx2
import psutil

from cli.services_file import ServiceRecord
from shared.embedded.processes import KILL_SECONDS, POLL_SECONDS, clean_environment, start_failed

HOST = "127.0.0.1"
READY_SECONDS = 60.0
_ANSWER_SECONDS = 5.0


class ServiceProcess:
    """A service that answers HTTP on `port`; its output goes to `log`, where a new start appends.

    `command` gets the port; `record` is told of each process as soon as there is one. Not safe to use from several
    threads at once.
    """

    def __init__(
        self,
        name: str,
        command: Callable[[int], Sequence[str]],
        *,
        port: int,
        log: Path,
        record: Callable[[ServiceRecord], None],
        grace: float,
    ) -> None:
        self.name, self.port, self.log = name, port, log
        self._command, self._record, self._grace = command, record, grace
        self._guard = threading.Lock()
        self._stopped = False
        self._process: subprocess.Popen[bytes] | None = None
        self._running: ServiceRecord | None = None

    @property
    def url(self) -> str:
        """Where the service answers."""
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The id of the process, also of one that has ended; None before the first start."""
        return self._process.pid if self._process else None

    @property
    def exit_code(self) -> int | None:
        """How the process ended; None while it runs, and before the first start."""
        return self._process.poll() if self._process else None

    def spawn(self) -> None:
        """Start the process, in a session of its own, so that Ctrl-C at the terminal does not reach it.

        Not once it was stopped for good: a thread that was just being started when an interrupt came is not joined.
        """
        with self._guard:
            if not self._stopped:
                self._spawn()

    def _spawn(self) -> None:
        with self.log.open("ab" if self._process else "wb") as output:
            process = self._process = subprocess.Popen(  # noqa: S603 -- the command is ours
                [sys.executable, "-m", *self._command(self.port)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=clean_environment("WEFT_"),
                start_new_session=True,
            )
        created = psutil.Process(process.pid).create_time()
        self._running = ServiceRecord(name=self.name, pid=process.pid, created=created, grace=self._grace, url=self.url)
        self._record(self._running)

    def release(self, environment: Mapping[str, str]) -> None:
        """Send a process that `cli.launch` runs its settings; others do not read them."""
        assert self._process
        assert self._process.stdin
        variables = {**environment, "WEFT_HTTP_HOST": HOST, "WEFT_HTTP_PORT": str(self.port)}
        try:
            self._process.stdin.write(json.dumps(variables).encode() + b"\n")
            self._process.stdin.close()
        except BrokenPipeError:
            return  # it has ended; whoever waits for it to be ready says why

    def wait_ready(self) -> None:
        """Return when it answers /ready with 200.

        Raises UnavailableError `<name>_start_failed` with the cause from the log.
        """
        deadline = time.monotonic() + READY_SECONDS
        with httpx2.Client(base_url=self.url, timeout=_ANSWER_SECONDS, trust_env=False) as client:
            while not (self._listens() and _is_ready(client)):
                if self.exit_code is not None:
                    message = f"{self.name} ended with exit code {self.exit_code}"
                    raise start_failed(self.name, message, self.log)
                if time.monotonic() > deadline:
                    message = f"{self.name} was not ready after {READY_SECONDS:.0f} s"
                    raise start_failed(self.name, message, self.log)
                time.sleep(POLL_SECONDS)

    def _listens(self) -> bool:
        """Tell whether it is this process that has the port: who has taken it before may answer /ready as well."""
        assert self._process
        try:
            connections = psutil.Process(self._process.pid).net_connections("tcp")
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:  # where the system does not say it; or it has just ended
            return self.exit_code is None
        return any(one.status == psutil.CONN_LISTEN and one.laddr[1] == self.port for one in connections)

    def kill(self) -> None:
        """End the process as a crash would (SIGKILL); returns when it is gone."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(KILL_SECONDS)

    def wait_stopped(self) -> int:
        """Return the exit code of a process that was asked to stop, once it has; TimeoutExpired after its grace."""
        assert self._process
        return self._process.wait(self._grace)

    def stop(self, *, for_good: bool = False) -> None:
        """Stop the process and all that it started, in order at first; returns when nothing of it is left.

        Where that is `for_good`, it is not started again.
        """
        with self._guard:
            self._stopped = for_good
        if self._process and self._running and self._process.stdin:
            self._running.stop()
            self._process.wait(KILL_SECONDS)
            self._close_stdin(self._process)

    @staticmethod
    def _close_stdin(process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin
        try:
            process.stdin.close()
        except BrokenPipeError:
            return  # settings that the process did not live to read


def _is_ready(client: httpx2.Client) -> bool:
    try:
        return client.get("/ready").is_success
    except httpx2.TransportError:
        return False
