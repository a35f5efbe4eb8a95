"""A private Redis, in which Celery, Taskiq and Dramatiq keep results.

It is found, installed where that needs no question, and started on a free port.
"""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.processes import START_SECONDS, start
from shared.contracts.errors import unavailable
from shared.embedded.processes import accepts_connections, free_port

# Debian's redis-tools holds Redis as this program, which is the server when it is called by the server's name.
# The package redis-server would add no program, but a server of the whole machine.
_PACKAGE = "redis-tools"
_PACKAGED = Path("/usr/bin/redis-check-rdb")


def start_redis(resources: ExitStack, folder: Path) -> str:
    """Start a server that keeps its data in `folder` (append-only file); return its address."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    settings = {"bind": "127.0.0.1", "port": port, "dir": folder, "appendonly": "yes", "save": ""}
    options = [str(part) for name, value in settings.items() for part in (f"--{name}", value)]
    server = start(resources, "redis", [_server(folder), *options], log=folder / "redis.log", env={})
    server.wait_until(lambda: accepts_connections(port), timeout=START_SECONDS, cancelled=threading.Event())
    return f"redis://127.0.0.1:{port}/0"


def _server(folder: Path) -> Path:
    """Return a program that is a Redis server; raise UnavailableError `redis_not_found` if there is none to be had."""
    found = shutil.which("redis-server")
    if found:
        return Path(found)
    if not _PACKAGED.exists() and os.geteuid() == 0 and shutil.which("apt-get"):
        _install()
    if not _PACKAGED.exists():
        raise unavailable(
            "redis_not_found",
            "no Redis is installed, and it could not be installed here; peers keep their results in it",
            where="PATH",
            fix=f"install it (Debian, Ubuntu: apt-get install {_PACKAGE}; macOS: brew install redis)",
        )
    server = folder / "redis-server"
    server.symlink_to(_PACKAGED)
    return server


def _install() -> None:
    quiet = ["-qq", "-o", "DPkg::Lock::Timeout=300"]
    _run(["apt-get", *quiet, "update"])
    _run(["apt-get", *quiet, "install", "--yes", "--no-install-recommends", _PACKAGE])


def _run(command: Sequence[str]) -> None:
    print(f"running: {' '.join(command)}", file=sys.stderr)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
