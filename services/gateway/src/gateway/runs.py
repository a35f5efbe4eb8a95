"""Runs: started by a message, known by asking the run tracker."""

import asyncio
from collections import OrderedDict
from datetime import UTC, datetime
from uuid import UUID

from gateway.tracker_client import PATIENCE, TrackerClient
from shared.contracts.errors import invalid, unavailable
from shared.contracts.messages import RunStart
from shared.contracts.queries import RunView
from shared.contracts.states import RunStatus
from shared.messaging.publisher import Publisher

MAX_ACCEPTED = 10_000
PUBLISH_PATIENCE = 5.0  # seconds


class Runs:
    """Starts runs and tells of them.

    The run tracker may not know a run yet that was just accepted; until it does, what is known here is told.
    """

    def __init__(self, publisher: Publisher, tracker: TrackerClient) -> None:
        self._publisher = publisher
        self._tracker = tracker
        self._accepted: OrderedDict[UUID, RunView] = OrderedDict()

    async def start(self, message: RunStart) -> RunView:
        """Return the queued run once the broker has the message safe; raise UnavailableError if that is not certain."""
        try:
            async with asyncio.timeout(PUBLISH_PATIENCE):
                await self._publisher.publish(message)
        except TimeoutError as err:
            raise unavailable(
                "publish_failed",
                f"the broker did not confirm the start within {PUBLISH_PATIENCE:.0f} s",
                fix="try again with the same runId: it starts one run at most",
            ) from err
        return self._remember(_queued(message))

    async def get(self, run_id: UUID, *, patience: float = PATIENCE) -> RunView:
        """Return a run with its nodes; raise `run_not_found` or `no_answer`."""
        tracked = await self._tracker.get_run(run_id, patience=patience)
        if tracked:
            self._accepted.pop(run_id, None)
            return tracked
        if accepted := self._accepted.get(run_id):
            return accepted.model_copy(update={"nodes": ()})
        raise invalid("run_not_found", f"there is no run {run_id}", where="runId")

    async def newest(self, workflow_id: UUID | None, limit: int) -> tuple[RunView, ...]:
        """Return the newest runs without their nodes, of one workflow or of all; raise `no_answer`."""
        return await self._tracker.newest_runs(workflow_id, limit)

    def _remember(self, run: RunView) -> RunView:
        known = self._accepted.setdefault(run.run_id, run)
        while len(self._accepted) > MAX_ACCEPTED:
            self._accepted.popitem(last=False)
        return known


def _queued(message: RunStart) -> RunView:
    return RunView(
        run_id=message.run_id,
        status=RunStatus.QUEUED,
        workflow_id=message.workflow_id,
        workflow_version=message.workflow_version,
        workflow_name=message.graph.name,
        trigger_run_id=message.trigger_run_id,
        created_at=datetime.now(UTC),
        total_nodes=len(message.graph.nodes),
    )
