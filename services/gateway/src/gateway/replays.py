"""Doing again what died: jobs join their runs, or their runs are taken up; other messages go where they had gone."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from pydantic import JsonValue, ValidationError

from gateway.domain.callers import NOBODY, Caller, Limits
from gateway.domain.letters import Step, next_step
from gateway.plans import Plans
from gateway.starts import Starts
from gateway.tracker_client import TrackerClient
from gateway.views import ResumeRequest, StartRequest
from shared.contracts.commands import NodeReplay, RunStart, read_job
from shared.contracts.dead_letters import LetterOutcome, LetterResult
from shared.contracts.envelope import NodeAttempt
from shared.contracts.errors import InvalidInputError, Problem, UnavailableError, WeftError, invalid, unavailable
from shared.contracts.node_types import REGISTRY
from shared.contracts.operations import AttemptKey, AttemptStand
from shared.contracts.owners import LOCAL_OWNER
from shared.contracts.states import NodeStatus
from shared.messaging.dead_letters import Letter
from shared.messaging.publisher import Publisher

CONCURRENT = 4  # letters at a time; each needs the database now and then
PATIENCE = 10.0  # seconds in which a job that was replayed is known to go on
BATCH_SECONDS = 20.0  # in which all letters of a request are begun: who asks waits 120, and others wait for their turn
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5

Params = Mapping[str, JsonValue]
Remove = Callable[[Letter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Batch:
    """Letters that are replayed together: each run is taken up once, whichever of its letters comes first."""

    params: Params
    stands: Mapping[tuple[UUID, str, int], AttemptStand]
    deadline: float  # of the event loop's clock
    resumed: dict[UUID, asyncio.Task[UUID]] = field(default_factory=dict[UUID, asyncio.Task[UUID]])


class Replays:
    """Replays dead letters. What was replayed once is not done again: it is found to go on, or to be taken up."""

    def __init__(
        self, publisher: Publisher, tracker: TrackerClient, plans: Plans, starts: Starts, caller: Caller = NOBODY
    ) -> None:
        self._publisher = publisher
        self._tracker = tracker
        self._plans = plans
        self._starts = starts
        self._caller = caller

    def seen_by(self, caller: Caller) -> "Replays":
        """Return what replays in the name of a caller, who administers."""
        return Replays(self._publisher, self._tracker, self._plans.seen_by(caller), self._starts, caller)

    async def replay(self, letters: Sequence[Letter], params: Params, remove: Remove) -> Sequence[LetterResult]:
        """Return what became of each letter; `remove` is called for each as soon as it is safe elsewhere.

        `params` replace those of jobs, name by name.
        """
        keys = [key for letter in letters if (key := _key(letter))]
        stands = {_attempt(stand): stand for stand in (await self._tracker.find_attempts(keys) if keys else ())}
        deadline = asyncio.get_running_loop().time() + BATCH_SECONDS
        batch, places = _Batch(params, stands, deadline), asyncio.Semaphore(CONCURRENT)

        async def one(letter: Letter) -> LetterResult:
            async with places:
                result = await self._replayed(letter, batch)
                if result.outcome is not LetterOutcome.FAILED:
                    await remove(letter)
                return result

        return await asyncio.gather(*map(one, letters))

    async def _replayed(self, letter: Letter, batch: _Batch) -> LetterResult:
        told = LetterResult(id=letter.id, outcome=LetterOutcome.FAILED, run_id=letter.run_id, node_id=letter.node_id)
        try:
            _ensure_in_time(batch)
            key = _key(letter)
            if key is None:
                await self._publisher.republish(letter)
                return told.model_copy(update={"outcome": LetterOutcome.REPUBLISHED})
            return told.model_copy(update=await self._replayed_job(letter, key, batch))
        except WeftError as err:
            return told.model_copy(update={"problem": err.problems[0]})

    async def _replayed_job(self, letter: Letter, key: AttemptKey, batch: _Batch) -> Mapping[str, object]:
        stand = batch.stands.get((key.run_id, key.node_id, key.attempt))
        if stand is None:
            raise _unknown(key)
        step = next_step(stand)
        if step is Step.WAIT:
            stand = await self._known(key, lambda now: next_step(now) is not Step.WAIT)
            step = next_step(stand)
        if step is Step.REJOIN:
            await self._publisher.publish(_command(letter, key, batch.params))
            stand = await self._known(key, lambda now: next_step(now) is not Step.REJOIN)
            step = next_step(stand)
            if step is Step.NOTHING:
                return {"outcome": LetterOutcome.REJOINED}
        if step is Step.NOTHING:
            return {"outcome": LetterOutcome.OBSOLETE}
        return {"outcome": LetterOutcome.RESUMED, "resumed_as": await self._resumed(letter, stand, batch)}

    async def _known(self, key: AttemptKey, holds: Callable[[AttemptStand], bool]) -> AttemptStand:
        """Return how things stand once that is so; raise UnavailableError `not_taken_in` if it takes too long."""
        deadline, pause = asyncio.get_running_loop().time() + PATIENCE, _FIRST_PAUSE
        while True:
            for stand in await self._tracker.find_attempts([key]):
                if holds(stand):
                    return stand
            if asyncio.get_running_loop().time() > deadline:
                raise _not_taken_in(key)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _resumed(self, letter: Letter, stand: AttemptStand, batch: _Batch) -> UUID:
        """Return the run that takes up the letter's run; of a batch, and of all times, there is one for each run."""
        task = batch.resumed.get(stand.run_id)
        if task is None:
            resuming = self._resume(stand, letter.node_type or "", batch.params)
            task = batch.resumed[stand.run_id] = asyncio.create_task(resuming)
        return await asyncio.shield(task)

    async def _resume(self, stand: AttemptStand, node_type: str, params: Params) -> UUID:
        owned = replace(self._caller, owner=stand.owner or LOCAL_OWNER, limits=Limits())
        # Nothing else is part of what tells a repetition: the run is taken up as it was first asked for.
        request = StartRequest(trigger_run_id=f"dead-letters:{stand.run_id}")

        async def plan() -> RunStart:
            edited = await self._edits(stand.run_id, node_type, params)
            wishes = ResumeRequest(trigger_run_id=request.trigger_run_id, params=edited)
            return await self._plans.resume(stand.run_id, wishes)

        run = await self._starts.seen_by(owned).start(f"replay dead letters of {stand.run_id}", request, plan)
        return run.run_id

    async def _edits(self, run_id: UUID, node_type: str, params: Params) -> dict[str, dict[str, JsonValue]]:
        """Return the params for all nodes of that type that failed in a run: their letters may come later."""
        if not params:
            return {}
        run = await self._tracker.get_run(run_id)
        return {
            node.node_id: dict(params)
            for node in (run and run.nodes) or ()
            if node.status is NodeStatus.FAILED and node.node_type == node_type
        }


def _ensure_in_time(batch: _Batch) -> None:
    if asyncio.get_running_loop().time() > batch.deadline:
        raise unavailable(
            "replay_too_slow",
            f"those before it took {BATCH_SECONDS:.0f} s, so it was not begun",
            fix="see that orchestrator and run tracker are up, and replay it again",
        )


def _key(letter: Letter) -> AttemptKey | None:
    """Return the attempt that a job is of; None for what is no job that can be read."""
    if letter.node_type is None or letter.run_id is None or letter.node_id is None or letter.attempt is None:
        return None
    return AttemptKey(run_id=letter.run_id, node_id=letter.node_id, attempt=letter.attempt)


def _attempt(key: AttemptKey) -> tuple[UUID, str, int]:
    return key.run_id, key.node_id, key.attempt


def _command(letter: Letter, key: AttemptKey, params: Params) -> NodeReplay:
    """Return the command for another attempt; raise `unreadable_job` or `invalid_params` where params are wrong."""
    assert letter.node_type
    edited = {**_params(letter), **params} if params else None
    if edited is not None:
        _ensure_fitting(letter.node_type, key.node_id, edited)
    about = NodeAttempt(run_id=key.run_id, node_id=key.node_id, node_type=letter.node_type, attempt=key.attempt)
    return NodeReplay(**about, params=edited)


def _ensure_fitting(node_type: str, node_id: str, params: Params) -> None:
    """Raise `invalid_params`: the orchestrator would fail the node, and the letter would be gone."""
    try:
        REGISTRY[node_type].read_params(params)
    except ValidationError as err:
        problems = (
            Problem(
                code="invalid_params", message=error["msg"], where=".".join(map(str, error["loc"])), node_id=node_id
            )
            for error in err.errors(include_url=False, include_input=False)
        )
        raise InvalidInputError(*problems) from err


def _params(letter: Letter) -> Params:
    try:
        return read_job(letter.body).params
    except ValidationError as err:
        raise invalid(
            "unreadable_job",
            "the params of a job that cannot be read cannot be edited",
            where=letter.id,
            fix="replay it as it is, or resume its run",
        ) from err


def _unknown(key: AttemptKey) -> InvalidInputError:
    return invalid(
        "run_not_found",
        f"the run tracker knows no run {key.run_id}",
        where="runId",
        fix="drop the letter, if its run was removed from the history",
    )


def _not_taken_in(key: AttemptKey) -> UnavailableError:
    return unavailable(
        "not_taken_in",
        f"within {PATIENCE:.0f} s nobody told what became of node {key.node_id} of run {key.run_id}",
        fix="see that orchestrator and run tracker are up, and replay it again: nothing is done twice",
    )
