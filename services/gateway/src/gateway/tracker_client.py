"""Questions to the run tracker."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from shared.contracts.commands import RunStart
from shared.contracts.queries import (
    CommandReply,
    EndsReply,
    FindEnds,
    FindOutputs,
    GetCommand,
    GetRun,
    ListRuns,
    OutputsReply,
    RunEnd,
    RunReply,
    RunsReply,
    RunView,
)
from shared.contracts.values import Value
from shared.messaging.requests import Requests
from shared.topology import QUERIES_QUEUE

PATIENCE = 5.0  # seconds


class TrackerClient:
    """Asks the run tracker; every question raises `no_answer` if none comes within `patience`."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    async def get_run(self, run_id: UUID, *, owner: str | None = None, patience: float = PATIENCE) -> RunView | None:
        """Return a run with its nodes; None where the tracker does not know it (yet), or not as that owner's."""
        reply = await self._requests.ask(GetRun(run_id=run_id, owner=owner), QUERIES_QUEUE, patience=patience)
        return RunReply.model_validate_json(reply).run

    async def newest_runs(
        self, workflow_id: UUID | None, limit: int, *, owner: str | None = None
    ) -> tuple[RunView, ...]:
        """Return the newest runs without their nodes, of one workflow or of all, of one owner or of all."""
        query = ListRuns(workflow_id=workflow_id, owner=owner, limit=limit)
        return RunsReply.model_validate_json(await self._requests.ask(query, QUERIES_QUEUE, patience=PATIENCE)).runs

    async def get_command(self, run_id: UUID) -> RunStart | None:
        """Return how a run was asked for; None where the tracker does not know that."""
        reply = await self._requests.ask(GetCommand(run_id=run_id), QUERIES_QUEUE, patience=PATIENCE)
        return CommandReply.model_validate_json(reply).command

    async def find_ends(self, run_ids: Sequence[UUID]) -> tuple[RunEnd, ...]:
        """Return which of these runs have ended, and what they cost; those that are not known are missing."""
        query = FindEnds(run_ids=tuple(run_ids))
        return EndsReply.model_validate_json(await self._requests.ask(query, QUERIES_QUEUE, patience=PATIENCE)).runs

    async def find_outputs(
        self, workflow_id: UUID, node_ids: Sequence[str], *, owner: str | None = None
    ) -> Mapping[str, Value]:
        """Return the newest output of each of these nodes in any run of a workflow, where there is one."""
        query = FindOutputs(workflow_id=workflow_id, node_ids=tuple(node_ids), owner=owner)
        reply = await self._requests.ask(query, QUERIES_QUEUE, patience=PATIENCE)
        return OutputsReply.model_validate_json(reply).outputs
