"""How much of a provider may be used in a minute, on a clock of the test's own."""

from hypothesis import given
from hypothesis import strategies as st

from llm_worker.domain.provider import Limits
from llm_worker.meters import BURST_SHARE, Meters, Used

START = 1_800_000_000_000  # milliseconds
MINUTE = 60_000


def limits(**bounds):
    return Limits(concurrency=1, **bounds)


def uses(meters, times, tokens=1):
    """Return at which of these times a use was allowed."""
    used, allowed = Used(), []
    for now in times:
        used, wait = meters.use(used, now, tokens)
        if not wait:
            allowed.append(now)
    return allowed


def test_without_limits_everything_is_allowed_and_nothing_is_kept():
    assert Meters(limits()).use(Used(), START, 10**9) == (Used(), 0.0)


def test_no_more_requests_are_allowed_in_a_minute_than_the_limit_and_a_burst():
    allowed = uses(Meters(limits(requests_per_minute=60)), range(START, START + 3 * MINUTE, 100))
    for begin in range(START, START + 2 * MINUTE, 1000):
        assert 59 <= sum(begin <= now < begin + MINUTE for now in allowed) <= 60 * (1 + BURST_SHARE)


def test_who_waits_as_long_as_he_is_told_is_allowed():
    meters = Meters(limits(requests_per_minute=7, tokens_per_minute=1000))
    used, now = Used(), START
    for _ in range(50):
        used, wait = meters.use(used, now, 300)
        if wait:
            now += round(wait * 1000)
            used, wait = meters.use(used, now, 300)
        assert wait == 0


def test_a_refusal_uses_nothing_of_either_allowance():
    meters = Meters(limits(requests_per_minute=1, tokens_per_minute=1_000_000))
    used, _ = meters.use(Used(), START, 10)
    refused, wait = meters.use(used, START, 10)
    assert wait > 0
    assert refused == used


def test_a_call_larger_than_the_allowance_is_made_and_the_next_waits_for_all_of_it():
    meters = Meters(limits(tokens_per_minute=600))
    used, wait = meters.use(Used(), START, 6_000)
    assert wait == 0
    _, wait = meters.use(used, START, 1)
    assert 580 < wait < 600


@given(estimate=st.integers(1, 10_000), taken=st.integers(0, 20_000))
def test_a_corrected_estimate_counts_like_the_truth(estimate, taken):
    meters = Meters(limits(tokens_per_minute=6_000))
    used, _ = meters.use(Used(), START, estimate)
    corrected = meters.correct(used, START, requests=0, tokens=taken - estimate)
    _, wait = meters.use(corrected, START, 1_000)
    # 100 tokens a second; a burst is 1,000.
    assert abs(wait - taken / 100) < 0.01
