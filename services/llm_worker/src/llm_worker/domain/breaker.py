"""A circuit breaker: a provider that does not answer is left alone for a while; pure but for the clock it is given.

Not one from a library: those for asyncio are not kept up, let every call through while they try whether the provider is
back, and count a call that was cancelled as one that failed.
"""

from collections.abc import Callable

FAILURES = 10  # in a row; with many calls under way a moment of trouble makes several
PAUSE_SECONDS = 30.0


class Breaker:
    """Lets calls through until `failures` in a row were not answered; then, after a `pause`, one at a time.

    `clock` returns seconds. Who is let through by `begin` must say how the call went: `answered`, `unanswered` or
    `undecided`.
    """

    def __init__(self, clock: Callable[[], float], *, failures: int = FAILURES, pause: float = PAUSE_SECONDS) -> None:
        self._clock = clock
        self._failures = failures
        self._pause = pause
        self._in_a_row = 0
        self._opened_at: float | None = None
        self._calls = 0
        self._probe: int | None = None  # the call that tries whether the provider is back

    @property
    def wait(self) -> float:
        """Seconds until a call may be let through; 0 if one may now."""
        if self._opened_at is None:
            return 0.0
        left = max(0.0, self._opened_at + self._pause - self._clock())
        # Nobody knows how long the probe takes.
        return left if self._probe is None else max(left, self._pause / 2)

    @property
    def is_open(self) -> bool:
        """Whether calls are not let through, or one only, to try whether the provider is back."""
        return self._opened_at is not None

    def begin(self) -> int:
        """Let a call through, which may be done while `wait` is 0; return its number."""
        assert self.wait == 0, "the circuit is open"
        self._calls += 1
        if self._opened_at is not None:
            self._probe = self._calls
        return self._calls

    def answered(self) -> None:
        """Note that the provider answered, be it with an error."""
        self._in_a_row, self._opened_at, self._probe = 0, None, None

    def unanswered(self, call: int) -> None:
        """Note that the provider did not answer a call."""
        self._in_a_row += 1
        # What had been under way before it opened says nothing new, and does not keep it open for longer.
        if call == self._probe or (self._opened_at is None and self._in_a_row >= self._failures):
            self._opened_at, self._probe = self._clock(), None

    def undecided(self, call: int) -> None:
        """Note that a call ended without telling anything about the provider."""
        if call == self._probe:
            self._probe = None
