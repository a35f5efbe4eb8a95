"""A `weft dev` as a process, and what it leaves behind."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

WEFT = Path(sys.executable).with_name("weft")
STOP_SECONDS = 60


class Dev:
    """A `weft dev` in a folder of its own."""

    def __init__(self, home: Path, environment: Mapping[str, str]):
        self.home = home
        self.env = {**environment, "WEFT_HOME": str(home)}
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

    def close(self):
        """Stop it if it runs, and see that nothing is left of it."""
        if self.process.poll() is None:
            self.end(signal.SIGTERM)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream
            stream.close()
        assert processes_of(self.home) == []


def processes_of(home):
    """Return the ids of all processes that log into a folder."""
    return [process.pid for process in _logging_into(home)]


def services_of(home):
    """Return the ids of the services that log into a folder, without the processes that they started themselves."""
    processes = _logging_into(home)
    pids = {process.pid for process in processes}
    return {process.pid for process in processes if process.info["ppid"] not in pids}


def _logging_into(home):
    logs = str(home / "logs")
    return [
        process
        for process in psutil.process_iter(["open_files", "ppid"])
        if any(file.path.startswith(logs) for file in process.info["open_files"] or ())
    ]
