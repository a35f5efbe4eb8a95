"""The real `prometheus` and `promtool`: those of the machine, else Debian's, unpacked for the tests alone.

Unpacked, not installed: that needs no rights, and starts no Prometheus of the whole machine.
"""

import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from shared.embedded.processes import Server, clean_environment, free_port

ROOT = Path(__file__).parents[1]
FILES = ROOT / "docs" / "observability"
CONFIGURATION = FILES / "prometheus" / "prometheus.yml"
RULES = FILES / "prometheus" / "rules.yml"
RULES_TEST = FILES / "prometheus" / "rules_test.yml"
DASHBOARD = FILES / "grafana" / "dashboards" / "weft.json"

_UNPACKED = ROOT / ".weft" / "tools" / "prometheus"
_SECONDS = 300
_START_SECONDS = 60.0


def program(name: str) -> Path:
    """Return one of the two programs; skip where it cannot be had, and fail instead where it must not be missing."""
    found = shutil.which(name)
    if found is not None:
        return Path(found)
    unpacked = _UNPACKED / "usr" / "bin" / name
    if not unpacked.exists():
        _unpack()
    return unpacked


def check(name: str, *arguments: str | Path) -> str:
    """Run a command of `promtool`; return what it prints, and fail with that if it finds something wrong."""
    done = subprocess.run(
        [program("promtool"), name, *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Prometheus:
    """A running Prometheus."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the data of its answer."""
        with urlopen(f"{self.url}/api/v1/{path}?{urlencode(parameters)}") as answer:
            return json.load(answer)["data"]

    def health(self) -> dict[str, str]:
        """Return `up`, `down` or `unknown` for each service that it scrapes."""
        return {target["labels"]["service"]: target["health"] for target in self.ask("targets")["activeTargets"]}


@contextmanager
def running_prometheus(folder: Path, configuration: Path) -> Generator[Prometheus]:
    """Yield a Prometheus on a free loopback port that keeps its data in the folder; stop it afterwards."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = Server.spawn(
        "prometheus",
        [
            program("prometheus"),
            f"--config.file={configuration}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        log=folder / "prometheus.log",
        record=lambda _: None,
        env=clean_environment(),
    )
    try:
        server.wait_until(lambda: _is_ready(url), timeout=_START_SECONDS, cancelled=threading.Event())
        yield Prometheus(url)
    finally:
        server.stop()


def _is_ready(url: str) -> bool:
    try:
        with urlopen(f"{url}/-/ready", timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


def _unpack() -> None:
    """Get Debian's package and unpack it, as a whole or not at all."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        _go_without("prometheus and promtool are not on PATH, and this is no Debian to get them from")
    _UNPACKED.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_UNPACKED.parent, ignore_cleanup_errors=True) as folder:
        download, draft = Path(folder), Path(folder) / "unpacked"
        if not (_get(download) or (_refresh_lists() and _get(download))):
            _go_without("prometheus and promtool are not on PATH, and `apt-get download prometheus` fails")
        (package,) = download.glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", package, draft], check=True, timeout=_SECONDS)
        if not _UNPACKED.exists():  # another session may have been faster
            draft.rename(_UNPACKED)


def _get(folder: Path) -> bool:
    return _run(["apt-get", "-qq", "download", "prometheus"], folder)


def _refresh_lists() -> bool:
    return os.geteuid() == 0 and _run(["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", "update"], Path.cwd())


def _run(command: list[str], folder: Path) -> bool:
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
    )
    return done.returncode == 0


def _go_without(reason: str) -> None:
    if os.environ.get("CI") or os.environ.get("WEFT_REQUIRE_DOCKER") == "1":
        pytest.fail(f"{reason}; where everything must be tested they must be there")
    pytest.skip(reason)
