"""How many runs a key may have under way, and what they may cost in a day: the only code that touches `key_run`.

Replicas share the table. What became of a run is asked of the run tracker, when it is needed for a decision.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from gateway.domain.callers import Caller, Limits
from gateway.patience import Patience
from gateway.problems import LimitedError
from gateway.tracker_client import TrackerClient
from shared.contracts.commands import RunStart
from shared.contracts.errors import Problem, invalid
from shared.contracts.queries import RunEnd
from shared.contracts.run_options import Budget
from shared.database import Connection, Database

RETRY_AFTER = 5.0  # seconds
UNKNOWN_KEPT = timedelta(minutes=10)  # a start that the tracker has not heard of for so long was lost

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('weft.key/' || $1, 0))"
_OPEN = "SELECT run_id FROM gateway.key_run WHERE key_id = $1 AND NOT ended"
_SPENT = """
SELECT coalesce(sum(cost), 0) FROM gateway.key_run
WHERE key_id = $1 AND started_at >= date_trunc('day', now(), 'UTC')
"""
_ADD = "INSERT INTO gateway.key_run (run_id, key_id) VALUES ($1, $2) ON CONFLICT DO NOTHING"
_REMOVE = "DELETE FROM gateway.key_run WHERE run_id = $1"
_END = """
UPDATE gateway.key_run SET ended = true, cost = told.cost
FROM unnest($1::uuid[], $2::float8[]) AS told (run_id, cost) WHERE key_run.run_id = told.run_id
"""
_FORGET_LOST = """
DELETE FROM gateway.key_run
WHERE key_id = $1 AND NOT ended AND started_at < now() - $3::interval AND run_id <> ALL($2::uuid[])
"""
_FORGET_OLD = "DELETE FROM gateway.key_run WHERE key_id = $1 AND ended AND started_at < now() - interval '2 days'"


@dataclass(frozen=True, slots=True)
class _Use:
    """What a key uses now: how many runs are under way, and what those of today have cost, in US dollars."""

    under_way: int
    spent: float


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
        limits = caller.limits
        if _are_none(limits):
            return command
        if limits.daily_budget is None:
            await self._take_a_place(caller, command.run_id)
            return command
        await self._learn_ends(caller.key_id)
        use = await self._patience.in_time(self._take(caller, command.run_id))
        return bounded(command, limits.daily_budget - use.spent)

    async def release(self, caller: Caller, run_id: UUID) -> None:
        """Count a run out that was admitted, and is not started after all."""
        if _are_none(caller.limits):
            return
        await self._patience.in_time(self._remove(run_id))

    async def _remove(self, run_id: UUID) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(_REMOVE, run_id)

    async def _take_a_place(self, caller: Caller, run_id: UUID) -> None:
        """Count a run in; what has become of earlier ones is asked only where there seems to be no place."""
        try:
            await self._patience.in_time(self._take(caller, run_id))
        except LimitedError:
            await self._learn_ends(caller.key_id)
            await self._patience.in_time(self._take(caller, run_id))

    async def _learn_ends(self, key_id: UUID) -> None:
        rows = await self._patience.in_time(self._open_runs(key_id))
        if rows:
            ends = await self._tracker.find_ends(rows)
            await self._patience.in_time(self._note(key_id, ends))

    async def _open_runs(self, key_id: UUID) -> list[UUID]:
        async with self._database.transaction() as connection:
            return [row["run_id"] for row in await connection.fetch(_OPEN, key_id)]

    async def _note(self, key_id: UUID, ends: Sequence[RunEnd]) -> None:
        ended = [end for end in ends if end.ended]
        async with self._database.transaction() as connection:
            await connection.execute(_END, [end.run_id for end in ended], [end.cost for end in ended])
            await connection.execute(_FORGET_LOST, key_id, [end.run_id for end in ends], UNKNOWN_KEPT)
            await connection.execute(_FORGET_OLD, key_id)

    async def _take(self, caller: Caller, run_id: UUID) -> _Use:
        """Count a run in if the limits allow it; starts with the same key wait for each other."""
        async with self._database.transaction() as connection:
            await connection.execute(_LOCK, str(caller.key_id))
            use = await _use_of(connection, caller.key_id, run_id)
            _ensure_within(caller, use)
            await connection.execute(_ADD, run_id, caller.key_id)
        return use


def _are_none(limits: Limits) -> bool:
    return limits.concurrent_runs is None and limits.daily_budget is None


async def _use_of(connection: Connection, key_id: UUID, run_id: UUID) -> _Use:
    """Return what a key uses besides that run, which may be counted already."""
    others = [row for row in await connection.fetch(_OPEN, key_id) if row["run_id"] != run_id]
    return _Use(len(others), await connection.fetchval(_SPENT, key_id))


def _ensure_within(caller: Caller, use: _Use) -> None:
    limits = caller.limits
    if limits.daily_budget is not None and use.spent >= limits.daily_budget:
        raise invalid(
            "budget_exhausted",
            f"the runs of this key have cost ${use.spent:.2f} today, and may cost ${limits.daily_budget:.2f} a day",
            fix="wait for the next day (UTC), or ask an administrator for a key with a larger budget",
        )
    if limits.concurrent_runs is not None and use.under_way >= limits.concurrent_runs:
        problem = Problem(
            code="too_many_runs",
            message=f"this key has {use.under_way} runs under way, and may have {limits.concurrent_runs}",
            fix="wait for one to end, or cancel one",
        )
        raise LimitedError(problem, retry_after=RETRY_AFTER)


def bounded(command: RunStart, left: float) -> RunStart:
    """Return the command with a budget of at most that many US dollars."""
    budget = command.options.budget or Budget()
    asked = left if budget.max_cost is None else budget.max_cost
    bounded = budget.model_copy(update={"max_cost": min(asked, left)})
    return command.model_copy(update={"options": command.options.model_copy(update={"budget": bounded})})
