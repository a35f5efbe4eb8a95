"""Where a peer's packages are: with ours, or, where they do not agree with ours, in an environment of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from benchmarks.command import say
from benchmarks.processes import ROOT
from shared.contracts.errors import unavailable

FOLDER = ROOT / ".weft" / "benchmarks"
_VERSIONS = """
import importlib.metadata, json, sys
print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))
"""


@cache
def own_environment(name: str) -> Path:
    """Return the interpreter of a virtual environment with what `peers/<name>.lock` says; made if it is not there.

    Raises UnavailableError `peer_not_installed`.
    """
    environment, lock = FOLDER / name, Path(__file__).with_name(f"{name}.lock")
    python = environment / "bin" / "python"
    if not python.exists():
        _uv("venv", "--quiet", "--python", sys.executable, str(environment), name=name)
    say(f"seeing to what {name} needs, in {environment.relative_to(ROOT)}")
    _uv("pip", "sync", "--quiet", "--require-hashes", "--python", str(python), str(lock), name=name)
    return python


def versions_in(python: Path, packages: Sequence[str]) -> Mapping[str, str]:
    """Return the versions of packages that an interpreter has."""
    command = [python, "-c", _VERSIONS, *packages]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _uv(*arguments: str, name: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    done = subprocess.run(
        [Path(sys.executable).with_name("uv"), *arguments], check=False, capture_output=True, text=True, env=environment
    )
    if done.returncode:
        raise unavailable(
            "peer_not_installed",
            f"what {name} needs cannot be installed: {done.stderr.strip()}",
            where=str(FOLDER / name),
            fix=f"see to the network, or leave it out: --sides without {name}",
        )
