"""Questions to the run tracker."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from shared.contracts.commands import RunStart
from shared.contracts.history import (
    FindRun,
    GetStatistics,
    GetTimeline,
    ListRuns,
    StatisticsReply,
    TimelineReply,
)
from shared.contracts.operations import (
    AttemptKey,
    AttemptsReply,
    AttemptStand,
    FindAttempts,
    FindWaiting,
    WaitingJob,
    WaitingReply,
)
from shared.contracts.queries import (
    CommandReply,
    EndsReply,
    FindEnds,
    FindOutputs,
    GetCommand,
    GetRun,
    HistoryQuery,
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
        first = await self._run(GetRun(run_id=run_id, owner=owner), patience)
        return await self._with_all_nodes(first, owner, patience)

    async def find_run(self, trigger_run_id: str, *, owner: str | None = None) -> RunView | None:
        """Return the run that its caller named so, with its nodes; None where there is none, or none of that owner."""
        first = await self._run(FindRun(trigger_run_id=trigger_run_id, owner=owner), PATIENCE)
        return await self._with_all_nodes(first, owner, PATIENCE)

    async def list_runs(self, query: ListRuns) -> RunsReply:
        """Return a page of runs without their nodes."""
        return RunsReply.model_validate_json(await self._ask(query))

    async def get_timeline(self, run_id: UUID, *, owner: str | None = None) -> TimelineReply:
        """Return what the nodes of a run did when, all of them; not `known` where there is no such run."""
        first = page = TimelineReply.model_validate_json(await self._ask(GetTimeline(run_id=run_id, owner=owner)))
        entries = list(first.entries)
        while page.next:
            query = GetTimeline(run_id=run_id, owner=owner, after=page.next)
            page = TimelineReply.model_validate_json(await self._ask(query))
            entries += page.entries
        return first.model_copy(update={"entries": tuple(entries), "next": None})

    async def get_statistics(self, query: GetStatistics) -> StatisticsReply:
        """Return how the runs of a workflow went."""
        return StatisticsReply.model_validate_json(await self._ask(query))

    async def get_command(self, run_id: UUID) -> RunStart | None:
        """Return how a run was asked for; None where the tracker does not know that."""
        return CommandReply.model_validate_json(await self._ask(GetCommand(run_id=run_id))).command

    async def find_ends(self, run_ids: Sequence[UUID], *, patience: float = PATIENCE) -> tuple[RunEnd, ...]:
        """Return which of these runs have ended, and what they cost; those that are not known are missing."""
        query = FindEnds(run_ids=tuple(run_ids))
        return EndsReply.model_validate_json(await self._ask(query, patience)).runs

    async def find_outputs(
        self, workflow_id: UUID, node_ids: Sequence[str], *, owner: str | None = None
    ) -> Mapping[str, Value]:
        """Return the newest output of each of these nodes in any run of a workflow, where there is one."""
        found, left = dict[str, Value](), tuple(node_ids)
        while left:
            query = FindOutputs(workflow_id=workflow_id, node_ids=left, owner=owner)
            reply = OutputsReply.model_validate_json(await self._ask(query))
            found, left = found | reply.outputs, reply.left
        return found

    async def find_waiting(self) -> tuple[WaitingJob, ...]:
        """Return the job of each node type that has waited longest for a worker."""
        return WaitingReply.model_validate_json(await self._ask(FindWaiting())).jobs

    async def find_attempts(self, attempts: Sequence[AttemptKey]) -> tuple[AttemptStand, ...]:
        """Return how things stand with `MAX_ATTEMPTS_ASKED` attempts at most; those of unknown runs are missing."""
        query = FindAttempts(attempts=tuple(attempts))
        return AttemptsReply.model_validate_json(await self._ask(query)).attempts

    async def _with_all_nodes(self, first: RunReply, owner: str | None, patience: float) -> RunView | None:
        """Return a run of which the first nodes came, with those that follow, for which it is asked page by page."""
        if first.run is None:
            return None
        nodes, following = list(first.run.nodes or ()), first.next
        while following:
            page = await self._run(GetRun(run_id=first.run.run_id, owner=owner, after=following), patience)
            nodes += (page.run and page.run.nodes) or ()
            following = page.next
        return first.run.model_copy(update={"nodes": tuple(nodes)})

    async def _run(self, query: GetRun | FindRun, patience: float) -> RunReply:
        return RunReply.model_validate_json(await self._ask(query, patience))

    async def _ask(self, query: HistoryQuery, patience: float = PATIENCE) -> bytes:
        return await self._requests.ask(query, QUERIES_QUEUE, patience=patience)
