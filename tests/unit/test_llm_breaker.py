"""The circuit breaker, on a clock of the test's own."""

import pytest

from llm_worker.domain.breaker import Breaker


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker(clock, failures=3, pause=30.0)


def fail(breaker, times=1):
    for _ in range(times):
        breaker.unanswered(breaker.begin())


def test_it_opens_after_failures_in_a_row_and_not_before(breaker):
    fail(breaker, 2)
    assert breaker.wait == 0
    fail(breaker)
    assert breaker.wait == 30


def test_an_answer_in_between_begins_the_count_anew(breaker):
    fail(breaker, 2)
    breaker.begin()
    breaker.answered()
    fail(breaker, 2)
    assert breaker.wait == 0


def test_after_its_pause_one_call_tries_and_the_others_wait(breaker, clock):
    fail(breaker, 3)
    clock.now += 30
    breaker.begin()
    assert breaker.wait == 15
    breaker.answered()
    assert breaker.wait == 0


def test_a_try_that_fails_opens_it_again(breaker, clock):
    fail(breaker, 3)
    clock.now += 31
    fail(breaker)
    assert breaker.wait == 30


def test_a_try_that_was_stopped_leaves_it_to_the_next(breaker, clock):
    fail(breaker, 3)
    clock.now += 30
    breaker.undecided(breaker.begin())
    assert breaker.wait == 0
    fail(breaker)
    assert breaker.wait == 30


def test_calls_from_before_it_opened_change_nothing_when_they_fail(breaker, clock):
    late = [breaker.begin() for _ in range(5)]
    fail(breaker, 3)
    clock.now += 10
    for call in late:
        breaker.unanswered(call)
    assert breaker.wait == 20
    clock.now += 20
    breaker.begin()
    breaker.undecided(late[0])
    assert breaker.wait == 15
