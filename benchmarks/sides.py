"""What every system under measurement is to this command: something that is started, takes batches, and is stopped."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.measures import Batch
from benchmarks.shapes import Shape
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the servers are that all sides share, and which versions they have."""

    settings: Settings
    redis_url: str
    versions: Mapping[str, str]


class RunningSide(Protocol):
    """A side that was started."""

    @property
    def versions(self) -> Mapping[str, str]:
        """The versions of its packages."""
        ...

    def batch(self, shape: Shape, runs: int) -> Batch:
        """Submit runs at once; return when all have ended, and nothing is left to be done for them.

        Raises RunsLostError.
        """
        ...


class Side(Protocol):
    """A system under measurement. `divisor` is by how much fewer its runs are than the others'."""

    @property
    def name(self) -> str:
        """What it is called in the report."""
        ...

    @property
    def divisor(self) -> int:
        """By how much fewer its runs are than the others'."""
        ...

    def can(self, shape: Shape) -> bool:
        """Tell whether it is measured with workflows of that shape."""
        ...

    def prepare(self) -> None:
        """See to what it needs, before anything is measured; raise UnavailableError if it cannot be had."""
        ...

    def start(self, resources: ExitStack, servers: Servers, folder: Path) -> RunningSide:
        """Start it, with logs in `folder`; `resources` stops it. The first batch may have to wait for it."""
        ...
