"""How often a node is tried, and how long is waited in between."""

from zlib import crc32

from pydantic import Field

from shared.contracts.base import Contract

LONGEST_PAUSE = 3600.0  # seconds; no policy and no provider makes a run wait longer


class RetryPolicy(Contract):
    """At most `max_attempts`; pauses of `first_pause` seconds, times `factor` each time, `longest_pause` at most.

    Errors with a code in `never` are final, whatever their worker says.
    """

    max_attempts: int = Field(default=3, ge=1, le=100)
    first_pause: float = Field(default=1.0, ge=0, le=LONGEST_PAUSE)
    factor: float = Field(default=2.0, ge=1, le=10)
    longest_pause: float = Field(default=30.0, ge=0, le=LONGEST_PAUSE)
    never: tuple[str, ...] = ()

    def pause(self, attempt: int, *, key: str, retry_after: float | None = None) -> float:
        """Return the seconds to wait after a failed attempt (the first is 1).

        Exponential, with jitter: between half and all of it, spread by `key`, so that equal input gives an equal
        pause. A `retry_after` that the cause named is never undercut.
        """
        # The exponent is bounded, because a float is.
        grown = self.first_pause * self.factor ** min(attempt - 1, 64)
        jitter = 0.5 + crc32(key.encode()) / 2**33
        pause = min(grown, self.longest_pause) * jitter
        return min(max(pause, retry_after or 0.0), LONGEST_PAUSE)
