"""How many runs a key may have under way, and what they may cost in a day: the only code that touches `key_run`.

Replicas share the table. What became of a run is asked of the run tracker, when it is needed for a decision.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from gateway.domain.callers import Caller, Limits
from gateway.patience import Patience
from gateway.problems import LimitedError
from gateway.tracker_client import TrackerClient
from shared.contracts.commands import RunStart
from shared.contracts.errors import Problem, UnavailableError, WeftError, invalid, unavailable
from shared.contracts.queries import RunEnd
from shared.contracts.run_options import Budget
from shared.database import Connection, Database

RETRY_AFTER = 5.0  # seconds
ASKED_AT_ONCE = 1_000  # runs in one question, as of attempts: some 40 kB
ASKING_SECONDS = 10.0  # for all questions of a request
UNKNOWN_KEPT = timedelta(minutes=10)  # a start that the tracker has not heard of for so long was lost

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('weft.key/' || $1, 0))"
_OPEN = "SELECT run_id FROM gateway.key_run WHERE key_id = $1 AND NOT ended ORDER BY started_at"
_COUNTED = "SELECT run_id FROM gateway.key_run WHERE run_id = ANY($1::uuid[])"
_SPENT = """
SELECT coalesce(sum(cost), 0) FROM gateway.key_run
WHERE key_id = $1 AND started_at >= date_trunc('day', now(), 'UTC')
"""
_ADD = """
INSERT INTO gateway.key_run (run_id, key_id) SELECT run_id, $2 FROM unnest($1::uuid[]) AS added (run_id) ORDER BY run_id
ON CONFLICT DO NOTHING
"""
_REMOVE = "DELETE FROM gateway.key_run WHERE run_id = $1"
_END = """
UPDATE gateway.key_run SET ended = true, cost = told.cost
FROM unnest($1::uuid[], $2::float8[]) AS told (run_id, cost) WHERE key_run.run_id = told.run_id
"""
_FORGET_LOST = """
DELETE FROM gateway.key_run
WHERE key_id = $1 AND NOT ended AND started_at < now() - $3::interval AND run_id = ANY($2::uuid[])
"""
_FORGET_OLD = "DELETE FROM gateway.key_run WHERE key_id = $1 AND ended AND started_at < now() - interval '2 days'"


@dataclass(frozen=True, slots=True)
class Admission:
    """What may be started of what was asked for: the first commands of it, and why not the next one."""

    commands: tuple[RunStart, ...]
    refusal: WeftError | None = None


@dataclass(frozen=True, slots=True)
class _Use:
    """What a key uses now: which runs are under way, and what those of today have cost, in US dollars."""

    under_way: frozenset[UUID]
    spent: float


@dataclass(frozen=True, slots=True)
class _Places:
    """How many of some runs were counted in, the first ones, and why not the next; what the day's had cost before."""

    count: int
    spent: float
    refusal: WeftError | None


class RunLimits:
    """Lets runs be started within the limits of keys."""

    def __init__(self, database: Database, tracker: TrackerClient) -> None:
        self._database = database
        self._tracker = tracker
        self._patience = Patience()

    async def admit(self, caller: Caller, command: RunStart) -> RunStart:
        """Return the command, its budget bounded by what is left of the day's.

        What runs under way will cost is not known yet, so each of them may spend what was left when it was started.
        Raises LimitedError `too_many_runs`, InvalidInputError `budget_exhausted`, `no_answer` where the run tracker
        cannot be asked what became of earlier runs, and `database_unavailable`.
        """
        admission = await self.admit_all(caller, [command])
        if admission.refusal:
            raise admission.refusal
        return admission.commands[0]

    async def admit_all(self, caller: Caller, commands: Sequence[RunStart]) -> Admission:
        """Return those that `admit` would let in one after the other until it refuses one, and why it does.

        What became of earlier runs is asked once for all of them, and their places are taken together.
        """
        limits = caller.limits
        if _are_none(limits) or not commands:
            return Admission(tuple(commands))
        try:
            places = await self._take_places(caller, [command.run_id for command in commands])
        except UnavailableError as err:
            return Admission((), err)
        admitted = commands[: places.count]
        if limits.daily_budget is not None:
            admitted = [bounded(command, limits.daily_budget - places.spent) for command in admitted]
        return Admission(tuple(admitted), places.refusal)

    async def release(self, caller: Caller, run_id: UUID) -> None:
        """Count a run out that was admitted, and is not started after all."""
        if _are_none(caller.limits):
            return
        await self._patience.in_time(self._remove(run_id))

    async def _remove(self, run_id: UUID) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(_REMOVE, run_id)

    async def _take_places(self, caller: Caller, run_ids: Sequence[UUID]) -> _Places:
        """Count runs in.

        Without a budget, what has become of earlier ones is asked only where there seem to be too few places.
        """
        if caller.limits.daily_budget is not None:
            await self._learn_ends(caller.key_id)
            return await self._patience.in_time(self._take(caller, run_ids))
        taken = await self._patience.in_time(self._take(caller, run_ids))
        if taken.refusal is None:
            return taken
        try:
            await self._learn_ends(caller.key_id)
            more = await self._patience.in_time(self._take(caller, run_ids[taken.count :]))
        except UnavailableError as err:
            return replace(taken, refusal=err)
        return replace(more, count=taken.count + more.count)

    async def _learn_ends(self, key_id: UUID) -> None:
        """Note what has become of the runs under way; raise `no_answer` or `database_unavailable`.

        Those begun first are asked about first, and what was learnt before the time is over stays noted.
        """
        run_ids = await self._patience.in_time(self._open_runs(key_id))
        try:
            async with asyncio.timeout(ASKING_SECONDS):
                for first in range(0, len(run_ids), ASKED_AT_ONCE):
                    asked = run_ids[first : first + ASKED_AT_ONCE]
                    ends = await self._tracker.find_ends(asked)
                    await self._patience.in_time(self._note(key_id, asked, ends))
        except TimeoutError as err:
            raise _asked_too_long(len(run_ids)) from err

    async def _open_runs(self, key_id: UUID) -> list[UUID]:
        async with self._database.transaction() as connection:
            return [row["run_id"] for row in await connection.fetch(_OPEN, key_id)]

    async def _note(self, key_id: UUID, asked: Sequence[UUID], ends: Sequence[RunEnd]) -> None:
        ended = [end for end in ends if end.ended]
        unknown = set(asked) - {end.run_id for end in ends}
        async with self._database.transaction() as connection:
            await connection.execute(_END, [end.run_id for end in ended], [end.cost for end in ended])
            await connection.execute(_FORGET_LOST, key_id, list(unknown), UNKNOWN_KEPT)
            await connection.execute(_FORGET_OLD, key_id)

    async def _take(self, caller: Caller, run_ids: Sequence[UUID]) -> _Places:
        """Count the first runs in, as many as the limits allow; starts with the same key wait for each other."""
        async with self._database.transaction() as connection:
            await connection.execute(_LOCK, str(caller.key_id))
            use = await _use_of(connection, caller.key_id)
            counted = {row["run_id"] for row in await connection.fetch(_COUNTED, run_ids)}
            count, refusal = _allowed(caller.limits, use, run_ids, counted)
            await connection.execute(_ADD, run_ids[:count], caller.key_id)
        return _Places(count, use.spent, refusal)


def _are_none(limits: Limits) -> bool:
    return limits.concurrent_runs is None and limits.daily_budget is None


async def _use_of(connection: Connection, key_id: UUID) -> _Use:
    under_way = frozenset(row["run_id"] for row in await connection.fetch(_OPEN, key_id))
    return _Use(under_way, await connection.fetchval(_SPENT, key_id))


def _allowed(limits: Limits, use: _Use, run_ids: Sequence[UUID], counted: set[UUID]) -> tuple[int, WeftError | None]:
    """Return how many of the runs may be counted in, one after the other, and why not the next.

    A run that is under way already does not take a second place; one that is `counted` takes none when it is added.
    """
    under_way = set(use.under_way)
    for count, run_id in enumerate(run_ids):
        if refusal := _refusal(limits, len(under_way) - (run_id in under_way), use.spent):
            return count, refusal
        if run_id not in counted:
            under_way.add(run_id)
    return len(run_ids), None


def _refusal(limits: Limits, under_way: int, spent: float) -> WeftError | None:
    if limits.daily_budget is not None and spent >= limits.daily_budget:
        return invalid(
            "budget_exhausted",
            f"the runs of this key have cost ${spent:.2f} today, and may cost ${limits.daily_budget:.2f} a day",
            fix="wait for the next day (UTC), or ask an administrator for a key with a larger budget",
        )
    if limits.concurrent_runs is not None and under_way >= limits.concurrent_runs:
        problem = Problem(
            code="too_many_runs",
            message=f"this key has {under_way} runs under way, and may have {limits.concurrent_runs}",
            fix="wait for one to end, or cancel one",
        )
        return LimitedError(problem, retry_after=RETRY_AFTER)
    return None


def _asked_too_long(count: int) -> UnavailableError:
    return unavailable(
        "no_answer",
        f"what became of the {count:,} runs of this key that are under way was not told within {ASKING_SECONDS:.0f} s",
        fix="see that the run tracker is up, and try again",
    )


def bounded(command: RunStart, left: float) -> RunStart:
    """Return the command with a budget of at most that many US dollars."""
    budget = command.options.budget or Budget()
    asked = left if budget.max_cost is None else budget.max_cost
    bounded = budget.model_copy(update={"max_cost": min(asked, left)})
    return command.model_copy(update={"options": command.options.model_copy(update={"budget": bounded})})
