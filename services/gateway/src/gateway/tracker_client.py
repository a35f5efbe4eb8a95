"""Questions to the run tracker."""

from uuid import UUID

from shared.contracts.queries import GetRun, ListRuns, RunReply, RunsReply, RunView
from shared.messaging.requests import Requests
from shared.topology import QUERIES_QUEUE

PATIENCE = 5.0  # seconds


class TrackerClient:
    """Asks the run tracker; every question raises `no_answer` if none comes within `patience`."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    async def get_run(self, run_id: UUID, *, patience: float = PATIENCE) -> RunView | None:
        """Return a run with its nodes; None where the tracker does not know it (yet)."""
        reply = await self._requests.ask(GetRun(run_id=run_id), QUERIES_QUEUE, patience=patience)
        return RunReply.model_validate_json(reply).run

    async def newest_runs(self, workflow_id: UUID | None, limit: int) -> tuple[RunView, ...]:
        """Return the newest runs without their nodes, of one workflow or of all."""
        query = ListRuns(workflow_id=workflow_id, limit=limit)
        return RunsReply.model_validate_json(await self._requests.ask(query, QUERIES_QUEUE, patience=PATIENCE)).runs
