"""What is known of jobs, whichever runs they belong to: which wait longest, what became of some."""

import json
from collections.abc import Sequence
from typing import Any

import asyncpg

from shared.contracts.operations import AttemptKey, AttemptsReply, AttemptStand, WaitingJob, WaitingReply
from shared.database import Database

# Of open runs, those begun first: what has waited longest is among theirs.
OPEN_RUNS_LOOKED_AT = 2_000

FIND_WAITING = f"""
SELECT node.node_type, min(node.queued_at) AS queued_at
FROM (
    SELECT run_id, week FROM run_tracker.workflow_run
    WHERE status IN ('queued', 'running') ORDER BY created_at LIMIT {OPEN_RUNS_LOOKED_AT}
) AS run
JOIN run_tracker.node_execution AS node ON node.run_id = run.run_id AND node.week = run.week
WHERE node.status = 'queued' AND node.node_type IS NOT NULL AND node.queued_at IS NOT NULL
GROUP BY node.node_type ORDER BY node.node_type
"""  # noqa: S608 -- a number of our own
FIND_ATTEMPTS = """
SELECT wanted.run_id, wanted.node_id, wanted.attempt, run.status AS run_status, run.owner,
    node.status, coalesce(node.attempt, 0) AS latest, told.start->>'worker' AS worker,
    coalesce(told.failure->'error', told.given_up->'error',
        CASE WHEN node.attempt = wanted.attempt THEN node.failure->'error' END) AS error
FROM unnest($1::uuid[], $2::text[], $3::integer[]) AS wanted (run_id, node_id, attempt)
JOIN run_tracker.run_week AS place ON place.run_id = wanted.run_id
JOIN run_tracker.workflow_run AS run ON run.run_id = place.run_id AND run.week = place.week
LEFT JOIN run_tracker.node_execution AS node
    ON node.run_id = place.run_id AND node.week = place.week AND node.node_id = wanted.node_id
LEFT JOIN run_tracker.node_attempt AS told
    ON told.run_id = place.run_id AND told.week = place.week AND told.node_id = wanted.node_id
    AND told.attempt = wanted.attempt
"""


class Jobs:
    """What operators ask about jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def waiting(self) -> WaitingReply:
        """Return the job of each node type that has waited longest for a worker."""
        async with self._database.transaction() as connection:
            rows = await connection.fetch(FIND_WAITING)
        return WaitingReply(jobs=tuple(WaitingJob.model_validate(dict(row), by_name=True) for row in rows))

    async def attempts(self, keys: Sequence[AttemptKey]) -> AttemptsReply:
        """Return how things stand with these attempts; those of runs that are not known are missing."""
        columns = [[getattr(key, name) for key in keys] for name in AttemptKey.model_fields]
        async with self._database.transaction() as connection:
            rows = await connection.fetch(FIND_ATTEMPTS, *columns)
        return AttemptsReply(attempts=tuple(map(_stand, rows)))


def _stand(row: asyncpg.Record) -> AttemptStand:
    told: dict[str, Any] = dict(row)
    return AttemptStand.model_validate({**told, "error": json.loads(told["error"] or "null")}, by_name=True)
