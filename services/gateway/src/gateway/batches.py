"""Starting many runs in one request: in a few statements and a pipelined publish, each run with its own result."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID, uuid4, uuid5

from gateway.domain.callers import NOBODY, Caller
from gateway.domain.identity import digest_of
from gateway.plans import Planned, Plans
from gateway.run_limits import RunLimits
from gateway.runs import Runs
from gateway.started_runs import StartedRun, StartedRuns
from gateway.starts import within_limit
from gateway.views import BatchReply, BatchRequest, BatchResult, ExecuteRequest
from shared.contracts.commands import RunStart
from shared.contracts.errors import InvalidInputError, UnavailableError, WeftError, invalid
from shared.contracts.queries import RunView

Outcome = RunView | WeftError

AT_ONCE = 32  # of those that were started before, and are asked about
_NAMESPACE = UUID("6f1e0c1e-6a59-4f0b-9a51-0d4f0c6f3a77")


class Batches:
    """Starts runs by the hundred, within the limits of who asks.

    Under a key, each of them is started once, by an id that is made of its owner, the key and its place.
    """

    def __init__(
        self, plans: Plans, started: StartedRuns, runs: Runs, limits: RunLimits, caller: Caller = NOBODY
    ) -> None:
        self._plans = plans
        self._started = started
        self._runs = runs
        self._limits = limits
        self._caller = caller

    def seen_by(self, caller: Caller) -> "Batches":
        """Return what starts runs that a caller owns."""
        plans, runs = self._plans.seen_by(caller), self._runs.seen_by(caller)
        return Batches(plans, self._started, runs, self._limits, caller)

    async def start(self, workflow_id: UUID, request: BatchRequest, key: str | None) -> BatchReply:
        """Return what became of each of the inputs; raise `workflow_not_found`, or `database_unavailable`.

        With a key, the same again starts what has not been started, and tells of the rest what is known now.
        """
        owner = self._caller.owner
        name = None if key is None else f"{owner}/{workflow_id}/{key}"
        requests = [_request(request, name, place) for place in range(len(request.inputs))]
        plans = [_bounded(plan, owner) for plan in await self._plans.execute_batch(workflow_id, requests)]
        starts = [
            StartedRun(plan, digest_of(f"{owner} execute {workflow_id}", item))
            for plan, item in zip(plans, requests, strict=True)
            if isinstance(plan, RunStart)
        ]
        outcomes = await (self._start(starts) if key is None else self._start_once(starts))
        return _reply([outcomes[plan.run_id] if isinstance(plan, RunStart) else plan for plan in plans])

    async def _start(self, starts: Sequence[StartedRun]) -> dict[UUID, Outcome]:
        admitted, refused = await self._admit(starts)
        return refused | dict(await self._runs.start_all([start.command for start in admitted]))

    async def _start_once(self, starts: Sequence[StartedRun]) -> dict[UUID, Outcome]:
        before = await self._started.find_all([start.command.run_id for start in starts])
        admitted, outcomes = await self._admit([start for start in starts if start.command.run_id not in before])
        before = {**before, **await self._started.add_all(admitted)}  # those that another request has just added, too
        fresh = [start.command for start in admitted if start.command.run_id not in before]
        outcomes |= dict(await self._runs.start_all(fresh))
        limit = asyncio.Semaphore(AT_ONCE)
        repeated = [start for start in starts if start.command.run_id in before]
        told = await asyncio.gather(*(self._start_again(start, before, limit) for start in repeated))
        return outcomes | {start.command.run_id: outcome for start, outcome in zip(repeated, told, strict=True)}

    async def _admit(self, starts: Sequence[StartedRun]) -> tuple[list[StartedRun], dict[UUID, Outcome]]:
        """Return those that the limits of who asks allow, and why not the others: after the first, none is."""
        admission = await self._limits.admit_all(self._caller, [start.command for start in starts])
        admitted = [replace(start, command=command) for start, command in zip(starts, admission.commands, strict=False)]
        refusal = admission.refusal
        return admitted, {start.command.run_id: refusal for start in starts[len(admitted) :] if refusal}

    async def _start_again(
        self, start: StartedRun, before: Mapping[UUID, StartedRun], limit: asyncio.Semaphore
    ) -> Outcome:
        earlier = before[start.command.run_id]
        if earlier.digest != start.digest:
            return _conflict(earlier.command.run_id)
        async with limit:
            return await _outcome(self._runs.start_again(earlier.command))


def _request(request: BatchRequest, name: str | None, place: int) -> ExecuteRequest:
    run_id = uuid4() if name is None else uuid5(_NAMESPACE, f"{place}/{name}")
    same = {name: getattr(request, name) for name in request.model_fields_set - {"inputs"}}
    return ExecuteRequest(run_id=run_id, inputs=request.inputs[place], **same)


def _bounded(plan: Planned, owner: str) -> Planned:
    try:
        return within_limit(plan.model_copy(update={"owner": owner})) if isinstance(plan, RunStart) else plan
    except InvalidInputError as err:
        return err


async def _outcome(start: Awaitable[RunView]) -> Outcome:
    try:
        return await start
    except UnavailableError as err:
        return err


def _reply(outcomes: Sequence[Outcome]) -> BatchReply:
    results = tuple(
        BatchResult(problems=outcome.problems) if isinstance(outcome, WeftError) else BatchResult(run=outcome)
        for outcome in outcomes
    )
    accepted = sum(result.run is not None for result in results)
    return BatchReply(results=results, accepted=accepted, refused=len(results) - accepted)


def _conflict(run_id: UUID) -> InvalidInputError:
    return invalid(
        "trigger_conflict",
        f"under this key the run {run_id} was started in this place, by another request",
        where="header.idempotency-key",
        fix="choose another key for what are to be other runs",
    )
