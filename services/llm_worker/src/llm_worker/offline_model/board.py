"""The state that the stand-in keeps while it runs: scripted behaviours, and the calls made and held."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from llm_worker.offline_model.behaviours import Behaviour


@dataclass(frozen=True, slots=True)
class Counts:
    """Calls made since the start, calls held right now, and scripted uses that wait for a call.

    `open` are the calls that are under way, from their request to the last byte of their answer or to the client's
    hanging up; `peak` is how many those have been at most.
    """

    made: int
    held: int
    scripted: int
    open: int = 0
    peak: int = 0

    def to_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


class CallBoard:
    """What tests and people see and steer while calls come in; belongs to one event loop."""

    def __init__(self) -> None:
        self._made = 0
        self._open = 0
        self._peak = 0
        self._held: set[asyncio.Event] = set()
        self._script: deque[Behaviour] = deque()
        self._changed = asyncio.Event()
        self.closing = asyncio.Event()

    @property
    def counts(self) -> Counts:
        """The numbers at this moment."""
        scripted = sum(behaviour.times for behaviour in self._script)
        return Counts(self._made, len(self._held), scripted, self._open, self._peak)

    def script(self, behaviours: Iterable[Behaviour]) -> None:
        """Append behaviours; each is used by the next `times` calls, in order."""
        self._script.extend(behaviours)

    def clear_script(self) -> None:
        """Forget the behaviours that no call has used yet."""
        self._script.clear()

    def begin_call(self) -> Behaviour | None:
        """Count a call, which must be ended; return the scripted behaviour that it uses up, if there is one."""
        self._made += 1
        self._open += 1
        self._peak = max(self._peak, self._open)
        self._notify()
        if not self._script:
            return None
        behaviour = self._script.popleft()
        if behaviour.times > 1:
            self._script.appendleft(behaviour.model_copy(update={"times": behaviour.times - 1}))
        return behaviour

    def end_call(self) -> None:
        """Count a call as over, however it ended."""
        self._open -= 1
        self._notify()

    async def hold(self) -> None:
        """Wait until the next release; the call counts as held meanwhile, and no longer once cancelled."""
        released = asyncio.Event()
        self._held.add(released)
        self._notify()
        try:
            await released.wait()
        finally:
            self._held.discard(released)
            self._notify()

    def release(self) -> int:
        """Let every call that is held now go on, and return how many those are."""
        released, self._held = self._held, set()
        for event in released:
            event.set()
        self._notify()
        return len(released)

    async def wait_until(self, reached: Callable[[Counts], bool]) -> None:
        """Return as soon as the counts satisfy a condition, or the server closes."""
        while not (reached(self.counts) or self.closing.is_set()):
            await self._changed.wait()

    def close(self) -> None:
        """Free everyone who waits, because the server stops."""
        self.closing.set()
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
