"""Runs: started and cancelled by messages, known by asking the run tracker."""

import asyncio
from contextlib import suppress
from copy import copy
from datetime import UTC, datetime
from uuid import UUID

from pydantic import ValidationError
from structlog import get_logger

from gateway.domain.callers import NOBODY, Caller
from gateway.tracker_client import PATIENCE, TrackerClient
from shared.contracts.commands import RunCancel, RunStart
from shared.contracts.envelope import Message
from shared.contracts.errors import InvalidInputError, UnavailableError, invalid, unavailable
from shared.contracts.events import RunRejected, read_event
from shared.contracts.queries import RunView
from shared.contracts.scopes import Selection
from shared.contracts.states import FINAL_RUN_STATUSES, RunStatus
from shared.messaging.publisher import Publisher

log = get_logger(__name__)

MAX_ACCEPTED = 10_000
PUBLISH_PATIENCE = 5.0  # seconds
BEGIN_PATIENCE = 3.0  # seconds that a run may take from its acceptance until the tracker knows it
_FIRST_PAUSE = 0.02


class Runs:
    """Starts and cancels runs, and tells of them.

    The run tracker may not know a run yet that was just accepted; until it does, what is known here is told.
    """

    def __init__(self, publisher: Publisher, tracker: TrackerClient, caller: Caller = NOBODY) -> None:
        self._publisher = publisher
        self._tracker = tracker
        self._caller = caller
        self._accepted: dict[UUID, RunView] = {}  # in the order of their acceptance
        self._unheard: set[UUID] = set()  # those of them of which no event has come yet

    def seen_by(self, caller: Caller) -> "Runs":
        """Return the same runs as a caller sees them: those of others do not exist."""
        seen = copy(self)
        seen._caller = caller  # noqa: SLF001 -- its own class
        return seen

    async def start(self, command: RunStart) -> RunView:
        """Return the queued run once the broker has the command safe; raise UnavailableError if that is not certain."""
        # Remembered first: what becomes of it may be heard before the broker's confirmation is.
        queued = _queued(command)
        is_new = self._remember(queued)
        try:
            await self._publish(command, fix="try again with the same runId: it starts one run at most")
        except BaseException:
            if is_new:
                self._forget(command.run_id)
            raise
        self._remember(queued)  # again, since another request for the same run may have failed meanwhile
        return self._accepted[command.run_id]

    async def start_again(self, command: RunStart) -> RunView:
        """Return the run as it is known now; where it is not, its start may be lost, and is published once more."""
        try:
            if tracked := await self._tracker.get_run(command.run_id, owner=command.owner):
                return tracked
        except UnavailableError as err:
            log.info("the run tracker cannot be asked, so a start is published again", reason=str(err))
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
        if tracked:
            self._forget(run_id)
            return tracked
        accepted = self._accepted.get(run_id)
        if accepted and self._caller.sees(accepted.owner):
            return accepted.model_copy(update={"nodes": ()})
        raise _not_found(run_id)

    async def begun(self, run_id: UUID) -> RunView:
        """Return a run as the tracker knows it; one that was accepted a moment ago is waited for.

        What is asked of it from then on is taken in after its start. Raises `run_not_found`, `no_answer`, or
        `run_not_begun` if the start is not taken in within `BEGIN_PATIENCE`.
        """
        deadline, pause = asyncio.get_running_loop().time() + BEGIN_PATIENCE, _FIRST_PAUSE
        while (run := await self.get(run_id)).status is RunStatus.QUEUED and run_id in self._accepted:
            if asyncio.get_running_loop().time() > deadline:
                raise _not_begun(run_id)
            await asyncio.sleep(pause)
            pause *= 2
        return run

    def hear(self, run_id: UUID, body: bytes) -> None:
        """Take note of an event: the first of a run that was accepted here may say that the run will never be."""
        if run_id not in self._unheard:
            return
        self._unheard.discard(run_id)
        with suppress(ValidationError):
            event = read_event(body)
            if isinstance(event, RunRejected) and event.existing_run_id != run_id:
                self._accepted[run_id] = _refused(self._accepted[run_id], event)

    async def _publish(self, message: Message, *, fix: str) -> None:
        try:
            async with asyncio.timeout(PUBLISH_PATIENCE):
                await self._publisher.publish(message)
        except TimeoutError as err:
            what = f"the broker did not confirm {message.kind_name()} within {PUBLISH_PATIENCE:.0f} s"
            raise unavailable("publish_failed", what, fix=fix) from err

    def _remember(self, run: RunView) -> bool:
        """Remember an accepted run, and tell whether it is new."""
        if run.run_id in self._accepted:
            return False
        self._accepted[run.run_id] = run
        self._unheard.add(run.run_id)
        while len(self._accepted) > MAX_ACCEPTED:
            self._forget(next(iter(self._accepted)))
        return True

    def _forget(self, run_id: UUID) -> None:
        self._accepted.pop(run_id, None)
        self._unheard.discard(run_id)


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


def _refused(run: RunView, event: RunRejected) -> RunView:
    return run.model_copy(
        update={"status": RunStatus.FAILED, "finished_at": event.at, "problems": (event.problem,), "total_nodes": 0}
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
