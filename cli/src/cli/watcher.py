"""Starts services again that end by themselves: soon at first, later each time."""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from cli.service_process import ServiceProcess

WATCH_SECONDS = 0.2
FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 30.0
STEADY_SECONDS = 60.0  # who ran for this long is started again soon


class Revival:
    """When a service that has ended is to be started again. Times are in seconds of one monotonic clock."""

    def __init__(self, now: float) -> None:
        self._delay = FIRST_DELAY_SECONDS
        self._started = now
        self._due: float | None = None

    def schedule(self, now: float) -> float | None:
        """Return the delay, once for each end of the service; None if the end was noted before."""
        if self._due is not None:
            return None
        if now - self._started > STEADY_SECONDS:
            self._delay = FIRST_DELAY_SECONDS
        delay, self._due = self._delay, now + self._delay
        self._delay = min(2 * self._delay, LONGEST_DELAY_SECONDS)
        return delay

    def is_due(self, now: float) -> bool:
        """Tell whether the service is to be started now, in which case that is noted."""
        if self._due is None or now < self._due:
            return False
        self._due, self._started = None, now
        return True


class Watcher:
    """A thread that looks after services. `guard` is held while one is started; `tell` hears of each end."""

    def __init__(
        self,
        services: Iterable[ServiceProcess],
        run: Callable[[ServiceProcess], None],
        guard: AbstractContextManager[object],
        tell: Callable[[str], None],
    ) -> None:
        now = time.monotonic()
        self._revivals = [(service, Revival(now)) for service in services]
        self._run, self._guard, self._tell = run, guard, tell
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher")

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End watching; returns when nothing will be started any more."""
        self._ending.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ending.wait(WATCH_SECONDS):
            for service, revival in self._revivals:
                with self._guard:
                    self._look_after(service, revival, time.monotonic())

    def _look_after(self, service: ServiceProcess, revival: Revival, now: float) -> None:
        code = service.exit_code
        if code is None:
            return
        delay = revival.schedule(now)
        if delay is not None:
            self._tell(
                f"{service.name} ended with exit code {code}; starting it again in {delay:.0f} s ({service.log})"
            )
        elif revival.is_due(now):
            self._run(service)
            self._tell(f"{service.name} was started again, as process {service.pid}")
