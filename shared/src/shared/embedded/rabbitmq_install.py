"""Finding RabbitMQ on this machine, and installing it where that needs no question.

`python -m shared.embedded.rabbitmq_install` does the same from the command line.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SERVER = "rabbitmq-server"
_WRAPPERS = (Path("/usr/sbin"), Path("/sbin"))
_PACKAGED = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_FOLDERS = ("/usr/local/sbin", "/opt/homebrew/sbin", "/home/linuxbrew/.linuxbrew/sbin", "/opt/rabbitmq/sbin")
_EPMD_PATTERNS = (
    "usr/lib*/erlang/erts-*/bin/epmd",
    "opt/homebrew/opt/erlang*/lib/erlang/erts-*/bin/epmd",
    "usr/local/opt/erlang*/lib/erlang/erts-*/bin/epmd",
    "usr/local/lib/erlang/erts-*/bin/epmd",
    "home/linuxbrew/.linuxbrew/opt/erlang*/lib/erlang/erts-*/bin/epmd",
    "opt/erlang/lib/erlang/erts-*/bin/epmd",
)
_POLICY = Path("/usr/sbin/policy-rc.d")
_START_NOTHING = "#!/bin/sh\nexit 101\n"


@dataclass(frozen=True)
class RabbitMQ:
    """An installed RabbitMQ: its server script, and Erlang's port mapper."""

    server: Path
    epmd: Path


def find_or_install() -> RabbitMQ | None:
    """Return the RabbitMQ of this machine, installing it if that needs no question; None if there is none to be had.

    Debian and Ubuntu: as root, with apt-get, and no broker of the whole machine is started or will be. Otherwise
    with Homebrew where that is. What is done is said on stderr.
    """
    return find() or (install() and find()) or None


def find() -> RabbitMQ | None:
    """Return the RabbitMQ of this machine, if there is one."""
    server, epmd = _find_server(), _find_epmd()
    return RabbitMQ(server, epmd) if server and epmd else None


def install() -> bool:
    """Install RabbitMQ with the package manager, if that needs no question; return whether it was done."""
    if os.geteuid() == 0 and _is_debian() and shutil.which("apt-get"):
        return _install_with_apt()
    brew = shutil.which("brew")
    if brew is not None and os.geteuid() != 0:
        return _run([brew, "install", "--quiet", "rabbitmq"], {"HOMEBREW_NO_AUTO_UPDATE": "1", "NONINTERACTIVE": "1"})
    return False


def _find_server() -> Path | None:
    """Return the server script itself: what packages put in /usr/sbin is a wrapper that changes the user."""
    found = shutil.which(_SERVER)
    if found is not None and Path(found).parent not in _WRAPPERS:
        return Path(found)
    candidates = (_PACKAGED, *(Path(folder, _SERVER) for folder in _FOLDERS))
    return next((path for path in candidates if os.access(path, os.X_OK)), None)


def _find_epmd() -> Path | None:
    found = shutil.which("epmd")
    if found is not None:
        return Path(found)
    return next((path for pattern in _EPMD_PATTERNS for path in sorted(Path("/").glob(pattern), reverse=True)), None)


def _is_debian() -> bool:
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except FileNotFoundError:
        return False
    names = [line.partition("=")[2].strip('"') for line in lines if line.startswith(("ID=", "ID_LIKE="))]
    return "debian" in " ".join(names).split()


def _install_with_apt() -> bool:
    quiet = ("-qq", "-o", "DPkg::Lock::Timeout=300")
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    with _services_not_started():
        done = _run(["apt-get", *quiet, "update"], env) and _run(
            ["apt-get", *quiet, "install", "--yes", "--no-install-recommends", _SERVER], env
        )
    if done and shutil.which("systemctl"):
        _run(["systemctl", "--quiet", "disable", _SERVER], {})
    return done


@contextmanager
def _services_not_started() -> Generator[None]:
    """Keep the packages installed meanwhile from starting their services, as Debian's policy lets one say."""
    ours = not _POLICY.exists()
    if ours:
        _POLICY.write_text(_START_NOTHING)
        _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            _POLICY.unlink()


def _run(command: Sequence[str], env: Mapping[str, str]) -> bool:
    """Run the command, and return whether it succeeded; what it says is shown only if it did not."""
    _say(f"running: {' '.join(command)}")
    done = subprocess.run(  # noqa: S603 -- the command is ours
        command, env={**os.environ, **env}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        _say(f"it failed with exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.returncode == 0


def _say(text: str) -> None:
    sys.stderr.write(f"weft: RabbitMQ: {text}\n")


def main() -> int:
    """Find or install RabbitMQ; return 0 if it is there, 69 if it is not."""
    found = find_or_install()
    _say(f"found {found.server}" if found else "it is not installed, and could not be installed here")
    return 0 if found else 69


if __name__ == "__main__":
    sys.exit(main())
