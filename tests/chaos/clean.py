"""What "clean" means: the one check that every fault test ends with.

Every accepted run reached a final state, and its history is complete; nothing ended twice, or in two ways; no successor
was left unpublished; the dead-letter queues hold only what was put there on purpose.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from uuid import UUID

from tests.chaos.recorder import Recorder
from tests.chaos.waiting import eventually

from orchestrator.domain.state import RunState
from orchestrator.journal import Journal
from run_tracker.repository import RunRepository
from shared.contracts.commands import RunStart
from shared.contracts.events import RunFinished
from shared.contracts.queries import NodeView, RunView
from shared.contracts.states import FINAL_NODE_STATUSES, NodeStatus, RunStatus
from shared.database import Database

HISTORY_SECONDS = 30.0  # that the tracker may be behind
SHOWN = 10
_ENDED = """
SELECT count(*) FROM run_tracker.workflow_run WHERE run_id = ANY($1::uuid[]) AND finished_at IS NOT NULL
"""
_JOURNALED = """
SELECT run_id, event->>'kind' AS kind, event->>'nodeId' AS node_id, event->>'attempt' AS attempt,
    -- An attempt lasts anew with each worker that gets its job, one after the other.
    CASE event->>'kind' WHEN 'node.lasting' THEN event->>'startedAt' END AS began, count(*) AS count
FROM orchestrator.journal WHERE run_id = ANY($1::uuid[]) GROUP BY 1, 2, 3, 4, 5
"""
_ENDS = frozenset({"node.succeeded", "node.failed", "node.expire"})
_AT_A_TIME = 200


class Clean:
    """Checks a set of runs; `expected` says of those that were not to be completed how they had to end."""

    def __init__(
        self, database: Database, commands: Sequence[RunStart], expected: Mapping[UUID, RunStatus] | None = None
    ) -> None:
        self._database = database
        self._history = RunRepository(database)
        self._ids = [command.run_id for command in commands]
        self._expected = expected or {}

    async def check(self, recorder: Recorder, dead_letters: Mapping[str, int] | None = None) -> None:
        """Assert that everything is clean; `dead_letters` says how many were put into which queue on purpose."""
        await eventually("the history of all runs has an end", self._all_ended, within=HISTORY_SECONDS)
        finals = await recorder.finals(self._ids)
        found = [*_told(finals), *await self._recorded(), *await self._journaled()]
        found += await recorder.left_in_queues(dead_letters or {})
        assert not found, f"not clean, {len(found)} findings:\n" + "\n".join(islice(found, SHOWN))

    async def _all_ended(self) -> bool:
        async with self._database.transaction() as connection:
            return await connection.fetchval(_ENDED, self._ids) == len(self._ids)

    async def _recorded(self) -> list[str]:
        """Return where the tables do not say what the journals say, or where a run ended as it should not."""
        found: list[str] = []
        for start in range(0, len(self._ids), _AT_A_TIME):
            ids = self._ids[start : start + _AT_A_TIME]
            views = await asyncio.gather(*map(self._history.get, ids))
            async with Journal(self._database).lock(ids) as locked:
                states = {run_id: run.state for run_id, run in locked.runs.items()}
            for run_id, view in zip(ids, views, strict=True):
                found += [f"{run_id}: {problem}" for problem in self._compared(run_id, view, states.get(run_id))]
        return found

    def _compared(self, run_id: UUID, view: RunView | None, state: RunState | None) -> Iterator[str]:
        if view is None or state is None:
            yield "it has no history" if state else "it has no journal"
            return
        yield from _differences(view, state)
        if view.status is not self._expected.get(run_id, RunStatus.COMPLETED):
            yield f"it ended as {view.status}: {[str(node.error) for node in view.nodes or () if node.error]}"

    async def _journaled(self) -> list[str]:
        async with self._database.transaction() as connection:
            rows = await connection.fetch(_JOURNALED, self._ids)
        ends: Counter[tuple[UUID, str, str]] = Counter()
        for row in rows:
            if row["kind"] in _ENDS:
                ends[row["run_id"], row["node_id"], row["attempt"]] += row["count"]
        twice = (f"journaled twice: {dict(row)}" for row in rows if row["count"] > 1 and row["kind"] != "nodes.cached")
        return [*twice, *(f"an attempt ended twice: {attempt}" for attempt, count in ends.items() if count > 1)]


def _told(finals: Mapping[UUID, Sequence[RunFinished]]) -> Iterator[str]:
    for run_id, told in finals.items():
        if not told:
            yield f"{run_id}: its end was never told"
        if any(final != told[0] for final in told):
            yield f"{run_id}: it ended in two ways: {told}"


def _differences(view: RunView, state: RunState) -> Iterator[str]:
    if not state.finished_by or state.in_flight or state.open_nodes:
        yield f"in the journal it has not ended: {state.open_nodes} nodes are open, {state.in_flight} are in flight"
    if view.status is not state.status:
        yield f"in the journal it ended as {state.status}, in the tables as {view.status}"
    nodes = view.nodes or ()
    told = {node.node_id: node.status for node in nodes}
    if list(told.items()) != [(node_id, state.nodes[node_id].status) for node_id in state.plan.nodes]:
        yield f"its nodes ended as {dict(state.nodes)}, in the tables as {told}"
    yield from _miscounted(view, Counter(told.values()))
    for node in nodes:
        if missing := _missing(node, is_job=state.plan.node_type(node.node_id).queue is not None):
            yield f"the history of {node.node_id} lacks {missing}"


def _miscounted(view: RunView, told: Counter[NodeStatus]) -> Iterator[str]:
    counts = {
        "total_nodes": told.total(),
        "successful_nodes": told[NodeStatus.SUCCESS],
        "failed_nodes": told[NodeStatus.FAILED],
        "skipped_nodes": told[NodeStatus.SKIPPED],
        "cancelled_nodes": told[NodeStatus.CANCELLED],
    }
    wrong = {name: (getattr(view, name), count) for name, count in counts.items() if getattr(view, name) != count}
    if wrong:
        yield f"it is miscounted (told, counted): {wrong}"


def _missing(node: NodeView, *, is_job: bool) -> list[str]:
    """Return what a complete history of an ended node would have; the start of a job is told without a guarantee."""
    needed = ["node_type", "finished_at"]
    needed += ["output"] if node.status is NodeStatus.SUCCESS else []
    needed += ["error"] if node.status is NodeStatus.FAILED else []
    needed += ["queued_at"] if is_job and node.status in {NodeStatus.SUCCESS, NodeStatus.FAILED} else []
    ended = [] if node.status in FINAL_NODE_STATUSES else ["its end"]
    return [*ended, *(name for name in needed if getattr(node, name) is None)]
