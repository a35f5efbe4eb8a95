"""What a worker's function is given: its params, its inputs, the asset store, and how to tell and hear how it goes."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from uuid import UUID

from shared.assets import AssetStore
from shared.contracts.commands import NodeExecute
from shared.contracts.errors import invalid
from shared.contracts.node_type import Params
from shared.contracts.values import AssetRef, ImageValue, TextValue
from shared.worker.progress import Progress

P = TypeVar("P", bound=Params)


class StoppedError(Exception):
    """The job was stopped: nobody waits for its result."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the edges brought, by input handle, in the order of the edges."""

    command: NodeExecute

    def texts(self, handle: str) -> list[tuple[str, str]]:
        """Return the texts with the labels of the nodes that they come from."""
        return [(source, value.text) for source, value in self._values(handle) if isinstance(value, TextValue)]

    def text(self, handle: str) -> str | None:
        """Return the first text; None if none came."""
        return next((text for _, text in self.texts(handle)), None)

    def images(self, handle: str) -> list[AssetRef]:
        """Return the pictures, by reference."""
        return [value.asset for _, value in self._values(handle) if isinstance(value, ImageValue)]

    def image(self, handle: str) -> AssetRef:
        """Return the first picture; raise InvalidInputError `missing_input` if none came."""
        pictures = self.images(handle)
        if not pictures:
            raise invalid("missing_input", "no picture came with the job", where=handle, node_id=self.command.node_id)
        return pictures[0]

    def _values(self, handle: str) -> Iterator[tuple[str, object]]:
        return ((item.source, item.value) for item in self.command.inputs.get(handle, ()))


class Deadline:
    """When a job will be given up. It counts from when the job was begun."""

    def __init__(self, seconds: float | None) -> None:
        self._clock = asyncio.get_running_loop().time
        self._end = None if seconds is None else self._clock() + seconds

    def seconds_left(self) -> float | None:
        """Return how much time is left, in seconds; None if there is no limit."""
        return None if self._end is None else max(0.0, self._end - self._clock())


class StopSignal:
    """Says that a job is to be stopped: it was abandoned, its time is over, or the worker ends.

    An async function is cancelled besides. A sync one runs in a thread, which nobody can stop: one that takes long
    should ask now and then.
    """

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Have the job stopped."""
        self._event.set()

    def is_set(self) -> bool:
        """Tell whether the job is to be stopped."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise StoppedError if the job is to be stopped."""
        if self._event.is_set():
            raise StoppedError


@dataclass(frozen=True, slots=True)
class Job(Generic[P]):
    """One attempt at a node."""

    command: NodeExecute
    params: P
    assets: AssetStore
    progress: Progress
    deadline: Deadline
    stop: StopSignal = field(default_factory=StopSignal)

    @property
    def run_id(self) -> UUID:
        """The run that the node belongs to."""
        return self.command.run_id

    @property
    def node_id(self) -> str:
        """The node."""
        return self.command.node_id

    @property
    def attempt(self) -> int:
        """The number of the attempt, from 1."""
        return self.command.attempt

    @property
    def inputs(self) -> Inputs:
        """What the edges brought."""
        return Inputs(self.command)
