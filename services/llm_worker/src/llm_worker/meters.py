"""How much of a provider may be used in a minute; the only module that imports pyrate_limiter.

The algorithm is GCRA, a leaky bucket that is kept as one number; what it keeps is given to it and taken from it here.
"""

from dataclasses import dataclass

from pyrate_limiter import GCRA, Duration, Rate

from llm_worker.domain.provider import Limits

# Of a minute's allowance so much may be used at once: what reaches a provider within any minute is a sixth more at
# the most.
BURST_SHARE = 1 / 6
_UNBOUNDED = 2**40


@dataclass(frozen=True, slots=True)
class Used:
    """What was used lately of a provider's allowances: numbers that mean nothing to others."""

    requests: int = 0
    tokens: int = 0


class Meters:
    """The meters of a provider's requests and tokens; times are milliseconds of one clock."""

    def __init__(self, limits: Limits) -> None:
        self._requests = _Meter(limits.requests_per_minute)
        self._tokens = _Meter(limits.tokens_per_minute)

    def use(self, used: Used, now: int, tokens: int) -> tuple[Used, float]:
        """Return what is used after one more request, and 0; or what was used before, and the seconds to wait."""
        requests_after, wait = self._requests.use(used.requests, now, 1)
        tokens_after, wait_for_tokens = self._tokens.use(used.tokens, now, tokens)
        longer = max(wait, wait_for_tokens)
        return (used, longer) if longer else (Used(requests_after, tokens_after), 0.0)

    def correct(self, used: Used, now: int, *, requests: int, tokens: int) -> Used:
        """Return what is used after it turned out to be more, or less, where an amount is negative."""
        return Used(
            self._requests.correct(used.requests, now, requests), self._tokens.correct(used.tokens, now, tokens)
        )


class _Meter:
    def __init__(self, per_minute: int | None) -> None:
        self._gcra = GCRA()
        self._burst = max(1, int((per_minute or 0) * BURST_SHARE))
        self._bounded = [Rate(per_minute, Duration.MINUTE, burst=self._burst)] if per_minute else None
        self._unbounded = [Rate(per_minute, Duration.MINUTE, burst=_UNBOUNDED)] if per_minute else None

    def use(self, state: int, now: int, amount: int) -> tuple[int, float]:
        """Return the state after a use, and 0; or the state as it was, and the seconds to wait.

        What is more than may be used at once is used when nothing else was for a while, and makes others wait longer.
        """
        if self._bounded is None:
            return state, 0.0
        at_once = min(amount, self._burst)
        (after,), decision = self._gcra.step(self._bounded, (state,), now, at_once)
        if decision.allowed:
            return self.correct(int(after), now, amount - at_once), 0.0
        assert decision.retry_after_ms is not None, "no more than the burst was asked for"
        return state, decision.retry_after_ms / 1000

    def correct(self, state: int, now: int, amount: int) -> int:
        if self._unbounded is None or amount == 0:
            return state
        (after,), _ = self._gcra.step(self._unbounded, (state,), now, amount)
        return int(after)
