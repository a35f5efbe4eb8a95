"""The limits of a key on the runs of a batch: as for each of them in turn, but looked at once."""

from contextlib import asynccontextmanager
from itertools import product
from unittest.mock import create_autospec
from uuid import UUID, uuid4

import pytest

from gateway import run_limits
from gateway.domain.callers import Caller, Limits
from gateway.problems import LimitedError
from gateway.run_limits import RunLimits
from gateway.tracker_client import TrackerClient
from shared.contracts.commands import RunStart
from shared.contracts.errors import InvalidInputError, UnavailableError, unavailable
from shared.contracts.graph import Node, WorkflowGraph
from shared.contracts.queries import RunEnd

GRAPH = WorkflowGraph(nodes=(Node(id="a", type="text"),))


class Counted:
    """The database; counts transactions."""

    def __init__(self, database):
        self.database, self.transactions = database, 0

    @asynccontextmanager
    async def transaction(self):
        self.transactions += 1
        async with self.database.transaction() as connection:
            yield connection


class Tracker:
    """Knows how runs ended, by what they cost, and that all others go on; remembers what it was asked."""

    def __init__(self):
        self.costs, self.asked = {}, []
        self.client = create_autospec(TrackerClient, instance=True)
        self.client.find_ends.side_effect = self.find_ends

    async def find_ends(self, run_ids):
        self.asked.append(len(run_ids))
        return tuple(
            RunEnd(run_id=run_id, ended=run_id in self.costs, cost=self.costs.get(run_id, 0.0)) for run_id in run_ids
        )


@pytest.fixture
def counted(database):
    return Counted(database)


@pytest.fixture
def tracker():
    return Tracker()


@pytest.fixture
def limits(counted, tracker):
    return RunLimits(counted, tracker.client)


@pytest.fixture
async def caller_with(database):
    async def caller_with(**wishes):
        key_id = uuid4()
        async with database.transaction() as connection:
            await connection.execute(
                "INSERT INTO gateway.api_key (key_id, digest, name, owner, scopes) VALUES ($1, $2, 'x', 'x', '{run}')",
                *(key_id, key_id.bytes),
            )
        return Caller(key_id, "x", frozenset(), Limits(**wishes))

    return caller_with


def commands(count):
    return [RunStart(run_id=uuid4(), graph=GRAPH) for _ in range(count)]


async def in_turn(limits, caller, starts):
    """Return how many starts are let in one after the other, and the code of the first refusal."""
    for count, start in enumerate(starts):
        try:
            await limits.admit(caller, start)
        except (LimitedError, InvalidInputError) as err:
            return count, err.problems
    return len(starts), None


async def at_once(limits, caller, starts):
    admission = await limits.admit_all(caller, starts)
    return len(admission.commands), admission.refusal and admission.refusal.problems


async def counted_in(database, caller):
    async with database.transaction() as connection:
        rows = await connection.fetch("SELECT run_id FROM gateway.key_run WHERE key_id = $1", caller.key_id)
    return {row["run_id"] for row in rows}


async def set_up(limits, tracker, caller, *, ended, cost):
    """Let the caller have runs under way, some of which have ended as the tracker will tell; return them all."""
    free = Caller(caller.key_id, caller.owner, caller.scopes, Limits(concurrent_runs=1_000))
    before = commands(4)
    await limits.admit_all(free, before)
    tracker.costs |= {start.run_id: cost for start in before[:ended]}
    return before


LIMITS = (
    {"concurrent_runs": 3},
    {"concurrent_runs": 7},
    {"concurrent_runs": 20},
    {"daily_budget": 1.5},
    {"daily_budget": 2.0},
    {"daily_budget": 5.0, "concurrent_runs": 6},
)


@pytest.mark.parametrize("case", list(product(LIMITS, (0, 2), (0, 2))))
async def test_a_batch_is_let_in_as_its_runs_would_be_in_turn(limits, tracker, caller_with, database, case):
    wishes, ended, repeated = case
    told = []
    for way in (in_turn, at_once):
        caller = await caller_with(**wishes)
        before = await set_up(limits, tracker, caller, ended=ended, cost=1.0)
        new = commands(6)
        starts = [*new[:3], *before[2 : 2 + repeated], *new[3:]]
        count, problems = await way(limits, caller, starts)
        now = await counted_in(database, caller)
        assert now == {start.run_id for start in (*before, *starts[:count])}
        told.append((count, problems))
    assert told[0] == told[1]


async def test_a_batch_under_a_budget_is_looked_at_once(limits, tracker, counted, caller_with):
    caller = await caller_with(daily_budget=5.0)
    await set_up(limits, tracker, caller, ended=1, cost=1.0)
    counted.transactions = 0
    admission = await limits.admit_all(caller, commands(1_000))
    assert (len(admission.commands), admission.refusal) == (1_000, None)
    assert (tracker.asked, counted.transactions) == ([4], 3)
    assert {command.options.budget and command.options.budget.max_cost for command in admission.commands} == {4.0}


async def test_of_many_runs_under_way_so_many_are_asked_about_at_once(limits, tracker, caller_with, monkeypatch):
    monkeypatch.setattr(run_limits, "ASKED_AT_ONCE", 3)
    caller = await caller_with(concurrent_runs=4)
    await set_up(limits, tracker, caller, ended=4, cost=0.0)
    assert (await limits.admit_all(caller, commands(9))).refusal
    assert tracker.asked == [3, 1]


async def test_what_the_tracker_has_not_heard_of_is_forgotten_and_nothing_else(
    limits, tracker, caller_with, database, monkeypatch
):
    monkeypatch.setattr(run_limits, "ASKED_AT_ONCE", 2)
    caller = await caller_with(concurrent_runs=4)
    before = await set_up(limits, tracker, caller, ended=0, cost=0.0)
    async with database.transaction() as connection:
        await connection.execute("UPDATE gateway.key_run SET started_at = started_at - interval '1 hour'")
    lost, find_ends = before[3].run_id, tracker.find_ends

    async def without_lost(run_ids):
        return [end for end in await find_ends(run_ids) if end.run_id != lost]

    tracker.client.find_ends.side_effect = without_lost
    (new,) = commands(1)
    await limits.admit(caller, new)
    assert await counted_in(database, caller) == {new.run_id, *(start.run_id for start in before[:3])}


async def test_the_tracker_is_not_asked_for_ever(limits, tracker, caller_with, monkeypatch):
    monkeypatch.setattr(run_limits, "ASKING_SECONDS", 0)
    caller = await caller_with(daily_budget=5.0)
    await set_up(limits, tracker, caller, ended=0, cost=0.0)
    admission = await limits.admit_all(caller, commands(2))
    assert isinstance(admission.refusal, UnavailableError)
    assert (admission.commands, admission.refusal.code) == ((), "no_answer")


async def test_places_that_were_free_are_taken_though_the_tracker_is_away(limits, tracker, caller_with):
    caller = await caller_with(concurrent_runs=6)
    await set_up(limits, tracker, caller, ended=0, cost=0.0)
    tracker.client.find_ends.side_effect = unavailable("no_answer", "away")
    assert await at_once(limits, caller, commands(3)) == (2, unavailable("no_answer", "away").problems)


async def test_who_has_no_limits_is_not_counted(limits, caller_with, database):
    caller = await caller_with()
    assert await at_once(limits, caller, commands(3)) == (3, None)
    assert await counted_in(database, caller) == set[UUID]()


async def test_nothing_is_asked_for_nothing(limits, tracker, counted, caller_with):
    caller = await caller_with(daily_budget=5.0)
    assert await at_once(limits, caller, []) == (0, None)
    assert (tracker.asked, counted.transactions) == ([], 0)
