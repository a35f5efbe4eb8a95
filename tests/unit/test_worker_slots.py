"""Who gets a worker's slots: the urgent first, nobody never."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.run_options import Lane
from shared.worker.slots import PATIENCE, Schedule, Slots, SlotsClosedError, share

HIGH, NORMAL, LOW, SUSPECT = Lane
LANES = tuple(Lane)
WAITING = st.sets(st.sampled_from(LANES))


def grants(schedule, waiting, count):
    """Serve the same lanes again and again, each slot given back at once; return who got the slots."""
    served = []
    for _ in range(count):
        lane = schedule.grant(waiting)
        schedule.give_back(lane)
        served.append(lane)
    return served


@pytest.mark.parametrize(
    ("concurrency", "low"), [(1, 1), (2, 1), (3, 2), (4, 3), (5, 4), (8, 6), (16, 12), (64, 48), (100, 75)]
)
def test_the_low_lane_holds_about_three_quarters_and_never_the_last_of_several_slots(concurrency, low):
    assert share(LOW, concurrency) == low
    assert share(HIGH, concurrency) == share(NORMAL, concurrency) == concurrency
    assert share(SUSPECT, concurrency) == 1


def test_the_most_urgent_lane_that_waits_comes_first():
    schedule = Schedule(3)
    assert schedule.grant({LOW, HIGH, NORMAL}) is HIGH
    assert schedule.grant({LOW, NORMAL}) is NORMAL
    assert schedule.grant({LOW}) is LOW


def test_nothing_is_granted_without_a_free_slot_or_without_anybody_waiting():
    schedule = Schedule(1)
    assert schedule.grant(set()) is None
    assert schedule.grant({LOW}) is LOW
    assert schedule.grant({HIGH}) is None
    schedule.give_back(LOW)
    assert schedule.grant({HIGH}) is HIGH


def test_slots_stay_free_for_urgent_jobs_however_many_others_wait():
    schedule = Schedule(8)
    assert [schedule.grant({LOW}) for _ in range(8)] == [LOW] * 6 + [None] * 2
    assert schedule.grant({NORMAL, LOW}) is NORMAL
    assert schedule.grant({HIGH, LOW}) is HIGH


def test_beside_a_flood_of_urgent_jobs_every_eighth_slot_goes_to_who_waits():
    served = grants(Schedule(1), {NORMAL, LOW}, 80)
    assert served == ([NORMAL] * PATIENCE + [LOW]) * 10


def test_beside_floods_of_all_others_no_lane_starves():
    served = grants(Schedule(1), set(Lane), 100)
    assert all(Counter(served)[lane] >= 10 for lane in (NORMAL, LOW, SUSPECT))
    assert Counter(served)[HIGH] >= 60


@given(st.integers(1, 9), st.lists(st.tuples(WAITING, st.integers(0, 8)), max_size=200))
def test_slots_are_never_exceeded_never_idle_and_nobody_is_passed_over_for_long(concurrency, steps):
    schedule, held, passed_over = Schedule(concurrency), Counter(), Counter()
    for waiting, index in steps:
        lane = schedule.grant(waiting)
        may = {one for one in waiting if held[one] < share(one, concurrency)} if held.total() < concurrency else set()
        assert (lane in may) if may else (lane is None)
        if lane:
            held[lane] += 1
            passed_over.update(may - {lane})
            passed_over[lane] = 0
        assert held.total() <= concurrency
        assert max(passed_over.values(), default=0) <= PATIENCE + 1
        if taken := list(held.elements())[index : index + 1]:
            schedule.give_back(taken[0])
            held.subtract(taken)


async def others_have_gone_on():
    """Return when every task that can go on has done so."""
    for _ in range(5):
        await asyncio.sleep(0)


class Queue:
    """Tasks that hold a slot until they are let go, and who got theirs in which order."""

    def __init__(self, concurrency):
        self.slots = Slots(concurrency)
        self.served = []
        self.tasks = {}

    async def come(self, *names):
        """Let tasks come, named by the first letter of their lane; return when all have their slot or wait for it."""
        for name in names:
            self.tasks[name] = asyncio.create_task(self._wait(name))
        await others_have_gone_on()

    async def go(self, name):
        """Give a task's slot back; return when the next has it."""
        self.slots.release(self._lane(name))
        await others_have_gone_on()

    async def cancel(self, name):
        self.tasks[name].cancel()
        await asyncio.wait([self.tasks[name]])

    async def _wait(self, name):
        await self.slots.acquire(self._lane(name))
        self.served.append(name)

    def _lane(self, name):
        return {"h": HIGH, "n": NORMAL, "l": LOW}[name[0]]


async def test_within_a_lane_who_came_first_is_served_first():
    queue = Queue(1)
    await queue.come("n1", "n2", "n3", "h1")
    for name in ("n1", "h1", "n2"):
        await queue.go(name)
    assert queue.served == ["n1", "h1", "n2", "n3"]


async def test_who_does_not_wait_any_more_is_passed_over():
    queue = Queue(1)
    await queue.come("n1", "n2", "n3")
    await queue.cancel("n2")
    await queue.go("n1")
    assert queue.served == ["n1", "n3"]


async def test_a_slot_that_came_in_the_moment_of_leaving_goes_to_the_next():
    queue = Queue(1)
    await queue.come("n1", "n2", "n3")
    queue.slots.release(NORMAL)
    await queue.cancel("n2")
    await queue.come("n4")
    assert queue.served == ["n1", "n3"]
    await queue.go("n3")
    assert queue.served == ["n1", "n3", "n4"]


async def test_a_task_that_is_just_being_cancelled_gets_no_slot():
    queue = Queue(1)
    await queue.come("n1", "n2", "n3")
    queue.tasks["n2"].cancel()
    await queue.go("n1")
    assert queue.served == ["n1", "n3"]


async def test_closed_slots_are_kept_by_who_holds_them_and_given_to_nobody():
    queue = Queue(1)
    await queue.come("n1", "n2", "l1")
    queue.slots.close()
    ended = await asyncio.gather(queue.tasks["n2"], queue.tasks["l1"], return_exceptions=True)
    assert [type(error) for error in ended] == [SlotsClosedError] * 2
    with pytest.raises(SlotsClosedError):
        await queue.slots.acquire(HIGH)
    queue.slots.release(NORMAL)
    assert queue.served == ["n1"]
