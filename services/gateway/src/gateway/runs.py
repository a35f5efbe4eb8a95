"""Runs: started and cancelled by messages, known by asking the run tracker."""

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from structlog import get_logger

from gateway.acceptances import Acceptances
from gateway.domain.callers import NOBODY, Caller
from gateway.tracker_client import PATIENCE, TrackerClient
from shared.contracts.commands import RunCancel, RunStart
from shared.contracts.envelope import Message
from shared.contracts.errors import InvalidInputError, UnavailableError, invalid, unavailable
from shared.contracts.queries import RunView
from shared.contracts.scopes import Selection
from shared.contracts.states import FINAL_RUN_STATUSES, RunStatus
from shared.messaging.publisher import Publisher

log = get_logger(__name__)

PUBLISH_PATIENCE = 5.0  # seconds
BEGIN_PATIENCE = 3.0  # seconds that a run may take from its acceptance until the tracker knows it
KNOWN_PATIENCE = 1.0  # seconds that a start waits until it is known whether its id is another run's
_FIRST_PAUSE = 0.02
_AGAIN = "try again with the same runId: it starts one run at most"


class Runs:
    """Starts and cancels runs, and tells of them.

    The run tracker may not know a run yet that was just accepted; until it does, what is known here is told.
    """

    def __init__(
        self, publisher: Publisher, tracker: TrackerClient, acceptances: Acceptances, caller: Caller = NOBODY
    ) -> None:
        self._publisher = publisher
        self._tracker = tracker
        self._acceptances = acceptances
        self._caller = caller

    def seen_by(self, caller: Caller) -> "Runs":
        """Return the same runs as a caller sees them: those of others do not exist."""
        return Runs(self._publisher, self._tracker, self._acceptances, caller)

    async def start(self, command: RunStart) -> RunView:
        """Return the queued run once the broker has the command safe; raise UnavailableError if that is not certain."""
        await self._publish(command, fix=_AGAIN)
        queued = _queued(command)
        await self._acceptances.note([queued])
        return queued

    async def start_all(self, commands: Sequence[RunStart]) -> Sequence[tuple[UUID, RunView | UnavailableError]]:
        """Return for each command, by the id of its run, what `start` does for one: the run, or why that failed."""
        told = await asyncio.gather(*(_failure(self._publish(command, fix=_AGAIN)) for command in commands))
        outcomes = [
            (command.run_id, failure or _queued(command)) for command, failure in zip(commands, told, strict=True)
        ]
        if accepted := [run for _, run in outcomes if isinstance(run, RunView)]:
            await self._acceptances.note(accepted)
        return outcomes

    async def start_again(self, command: RunStart) -> RunView:
        """Return the run as it is known now; where it is not, its start may be lost, and is published once more."""
        try:
            if tracked := await self._tracker.get_run(command.run_id, owner=command.owner):
                return tracked
            accepted = await self._accepted(command.run_id)
            if accepted and accepted.status in FINAL_RUN_STATUSES:
                return accepted
        except UnavailableError as err:
            log.info("what became of a start cannot be asked, so it is published again", reason=str(err))
        return await self.start(command)

    async def cancel(self, run_id: UUID, reason: str | None) -> RunView:
        """Ask for a run's end, and return the run as it was known before.

        Raises `run_not_found`, `run_finished`, `no_answer`, `run_not_begun` or `publish_failed`.
        """
        run = await self.begun(run_id)
        if run.status in FINAL_RUN_STATUSES:
            raise invalid("run_finished", f"the run {run_id} has ended as {run.status}", where="runId")
        await self._publish(RunCancel(run_id=run_id, reason=reason), fix="try again: to cancel twice does no harm")
        return run

    async def get(self, run_id: UUID, *, patience: float = PATIENCE) -> RunView:
        """Return a run with its nodes; raise `run_not_found` or `no_answer`."""
        tracked = await self._tracker.get_run(run_id, owner=self._caller.sees_only, patience=patience)
        if known := tracked or await self._accepted(run_id):
            return known
        raise _not_found(run_id)

    async def is_known(self, run_id: UUID) -> bool:
        """Tell whether there is a run of that id, whosever; raise UnavailableError where it cannot be told soon."""
        if await self._acceptances.find(run_id):
            return True
        return bool(await self._tracker.find_ends([run_id], patience=KNOWN_PATIENCE))

    async def begun(self, run_id: UUID) -> RunView:
        """Return a run as the tracker knows it; one that was accepted a moment ago is waited for.

        What is asked of it from then on is taken in after its start. Raises `run_not_found`, `no_answer`, or
        `run_not_begun` if the start is not taken in within `BEGIN_PATIENCE`.
        """
        deadline, pause = asyncio.get_running_loop().time() + BEGIN_PATIENCE, _FIRST_PAUSE
        while (tracked := await self._tracker.get_run(run_id, owner=self._caller.sees_only)) is None:
            accepted = await self._accepted(run_id)
            if accepted is None:
                raise _not_found(run_id)
            if accepted.status in FINAL_RUN_STATUSES:
                return accepted
            if asyncio.get_running_loop().time() > deadline:
                raise _not_begun(run_id)
            await asyncio.sleep(pause)
            pause *= 2
        return tracked

    async def _publish(self, message: Message, *, fix: str) -> None:
        try:
            async with asyncio.timeout(PUBLISH_PATIENCE):
                await self._publisher.publish(message)
        except TimeoutError as err:
            what = f"the broker did not confirm {message.kind_name()} within {PUBLISH_PATIENCE:.0f} s"
            raise unavailable("publish_failed", what, fix=fix) from err

    async def _accepted(self, run_id: UUID) -> RunView | None:
        """Return a run that the tracker does not know yet, or never will, as it was accepted or refused."""
        accepted = await self._acceptances.find(run_id)
        if accepted is None or not self._caller.sees(accepted.owner):
            return None
        return accepted.model_copy(update={"nodes": ()})


async def _failure(publishing: Awaitable[None]) -> UnavailableError | None:
    try:
        await publishing
    except UnavailableError as err:
        return err
    return None


def _queued(command: RunStart) -> RunView:
    selection = Selection(command.scope, command.selected, command.given)
    return RunView(
        run_id=command.run_id,
        status=RunStatus.QUEUED,
        workflow_id=command.workflow_id,
        workflow_version=command.workflow_version,
        workflow_name=command.graph.name,
        trigger_run_id=command.trigger_run_id,
        resumed_from=command.resumed_from,
        scope=command.scope,
        owner=command.owner,
        tags=command.tags,
        metadata=command.metadata,
        created_at=datetime.now(UTC),
        total_nodes=len(selection.restrict(command.graph).nodes),
    )


def _not_found(run_id: UUID) -> InvalidInputError:
    return invalid("run_not_found", f"there is no run {run_id}", where="runId")


def _not_begun(run_id: UUID) -> UnavailableError:
    return unavailable(
        "run_not_begun",
        f"the start of run {run_id} has not been taken in yet",
        where="runId",
        fix="see that orchestrator and run tracker are up, and try again",
    )
