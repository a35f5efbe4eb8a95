"""Starting each run once, however often and wherever it is asked for."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from structlog import get_logger

from gateway.domain.callers import NOBODY, Caller
from gateway.domain.identity import digest_of
from gateway.run_limits import RunLimits
from gateway.runs import Runs
from gateway.started_runs import StartedRun, StartedRuns
from gateway.views import StartRequest
from shared.contracts.commands import MAX_START_BYTES, RunStart
from shared.contracts.errors import InvalidInputError, UnavailableError, invalid
from shared.contracts.queries import RunView

Plan = Callable[[], Awaitable[RunStart]]

_BY_ANOTHER = "which was started by another request"
_CHOOSE = "choose another one for what is to be another run"

log = get_logger(__name__)


class Starts:
    """Starts runs. What was asked for by a name of the caller's is remembered, and done again as it was done first."""

    def __init__(self, started: StartedRuns, runs: Runs, limits: RunLimits, caller: Caller = NOBODY) -> None:
        self._started = started
        self._runs = runs
        self._limits = limits
        self._caller = caller

    def seen_by(self, caller: Caller) -> "Starts":
        """Return what starts runs that a caller owns, within their limits."""
        return Starts(self._started, self._runs.seen_by(caller), self._limits, caller)

    async def start(self, subject: str, request: StartRequest, plan: Plan) -> RunView:
        """Return the run that a request about a subject asks for, started if it was not yet.

        `plan` makes the command of a run that is new. Raises what it and `RunLimits.admit` raise, `run_conflict` or
        `trigger_conflict` where a name belongs to another request's run, `start_too_large`, and UnavailableError where
        it is not certain that the run will begin: then the same request may be made again.
        """
        if request.run_id is None and request.trigger_run_id is None:
            return await self._runs.start(await self._command(plan))
        return await self._start_named(request, digest_of(f"{self._caller.owner} {subject}", request), plan)

    async def find(self, trigger_run_id: str) -> UUID | None:
        """Return the id of the run that the caller named so, also before the run tracker knows of it."""
        found = await self._started.find(None, trigger_run_id, self._caller.owner)
        return found[0].command.run_id if found else None

    async def keep_pruned(self) -> None:
        """Forget names that are old, now and then, until cancelled."""
        await self._started.keep_pruned()

    async def _start_named(self, request: StartRequest, digest: str, plan: Plan) -> RunView:
        while (earlier := await self._earlier(request, digest)) is None:
            if request.run_id is not None:
                await self._ensure_free(request.run_id)
            started = StartedRun(await self._command(plan), digest)
            if await self._started.add(started):
                return await self._runs.start(started.command)
            if request.run_id is None:  # else it is counted under the same id as the one that came first
                await self._limits.release(self._caller, started.command.run_id)
        return await self._runs.start_again(earlier)

    async def _ensure_free(self, run_id: UUID) -> None:
        """Raise `run_conflict` where a run has that id that nobody asked for by a name, so that none is remembered.

        The orchestrator would refuse such a start, but nobody would be told: of that id there is a run. Where it cannot
        be asked, the start goes on.
        """
        try:
            if await self._runs.is_known(run_id) and not await self._started.find(run_id, None, self._caller.owner):
                raise _run_conflict(run_id)
        except UnavailableError as err:
            log.info("whether a run has that id already cannot be asked", run_id=str(run_id), reason=str(err))

    async def _command(self, plan: Plan) -> RunStart:
        command = within_limit((await plan()).model_copy(update={"owner": self._caller.owner}))
        return await self._limits.admit(self._caller, command)

    async def _earlier(self, request: StartRequest, digest: str) -> RunStart | None:
        """Return the command of the same request's first making."""
        found = await self._started.find(request.run_id, request.trigger_run_id, self._caller.owner)
        for started in found:
            if started.digest != digest:
                raise _conflict(started.command, request.run_id)
        return found[0].command if found else None


def _conflict(existing: RunStart, run_id: UUID | None) -> InvalidInputError:
    if existing.run_id == run_id:
        return _run_conflict(existing.run_id)
    return invalid(
        "trigger_conflict",
        f"the triggerRunId {existing.trigger_run_id!r} belongs to the run {existing.run_id}, {_BY_ANOTHER}",
        where="triggerRunId",
        fix=_CHOOSE,
    )


def _run_conflict(run_id: UUID) -> InvalidInputError:
    message = f"the id {run_id} belongs to the run {run_id}, {_BY_ANOTHER}"
    return invalid("run_conflict", message, where="runId", fix=_CHOOSE)


def within_limit(command: RunStart) -> RunStart:
    """Return the command; raise `start_too_large`."""
    size = len(command.to_json())
    if size > MAX_START_BYTES:
        raise invalid(
            "start_too_large",
            f"the start of a run may have {MAX_START_BYTES:,} bytes, and this one has {size:,}",
            fix="use a smaller workflow; supply pictures as uploads; execute again what gave long texts",
        )
    return command
