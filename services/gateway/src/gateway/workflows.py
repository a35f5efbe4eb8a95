"""The kept workflows: the only code that touches the table `workflow`."""

from uuid import UUID

import asyncpg

from gateway.domain.callers import NOBODY, Caller
from gateway.patience import Patience
from gateway.views import WorkflowSummary, WorkflowView
from shared.contracts.errors import invalid
from shared.contracts.graph import WorkflowGraph
from shared.database import Database

_INSERT = """
INSERT INTO gateway.workflow (workflow_id, owner, version, name, graph) VALUES ($1, $2, 1, $3, $4::text::jsonb)
ON CONFLICT (workflow_id, owner, version) DO NOTHING RETURNING *
"""
# $1 is the owner who asks; those who see all ($2) find their own first, since others may use the same id.
_LATEST = """
SELECT * FROM gateway.workflow WHERE workflow_id = $3 AND (owner = $1 OR $2)
ORDER BY owner = $1 DESC, owner, version DESC LIMIT 1
"""
_NEWEST = """
SELECT * FROM (
    SELECT DISTINCT ON (owner, workflow_id) workflow_id, version, name, created_at
    FROM gateway.workflow WHERE owner = $1 OR $2 ORDER BY owner, workflow_id, version DESC
) AS latest
ORDER BY created_at DESC, workflow_id LIMIT $3
"""


class Workflows:
    """Keeps workflows and finds them, as one caller sees them: those of others do not exist.

    Every method raises `database_unavailable` while the database is away.
    """

    def __init__(self, database: Database, caller: Caller = NOBODY) -> None:
        self._database = database
        self._caller = caller
        self._patience = Patience()

    def seen_by(self, caller: Caller) -> "Workflows":
        """Return the workflows as a caller sees them."""
        return Workflows(self._database, caller)

    async def add(self, workflow_id: UUID, name: str, graph: WorkflowGraph) -> tuple[WorkflowView, bool]:
        """Return the workflow and whether it is new; raise `workflow_conflict` if the id has another graph."""
        text = graph.to_json().decode()
        workflow, is_new = await self._patience.in_time(self._insert_or_read(workflow_id, name, text))
        # Compared as they are stored, since that is what the next one will be compared with.
        if workflow.graph != WorkflowGraph.model_validate_json(text):
            raise invalid(
                "workflow_conflict",
                f"the workflow {workflow_id} exists, with another graph",
                where="id",
                fix="leave the id out to keep the graph as a new workflow",
            )
        return workflow, is_new

    async def get(self, workflow_id: UUID) -> WorkflowView:
        """Return the latest version; raise `workflow_not_found`."""
        rows = await self._patience.in_time(self._fetch(_LATEST, workflow_id))
        if not rows:
            raise invalid("workflow_not_found", f"there is no workflow {workflow_id}", where="id")
        return _view(rows[0])

    async def newest(self, limit: int) -> tuple[WorkflowSummary, ...]:
        """Return the latest version of each workflow, newest first."""
        rows = await self._patience.in_time(self._fetch(_NEWEST, limit))
        return tuple(
            WorkflowSummary(
                id=row["workflow_id"], version=row["version"], name=row["name"], created_at=row["created_at"]
            )
            for row in rows
        )

    async def _insert_or_read(self, workflow_id: UUID, name: str, text: str) -> tuple[WorkflowView, bool]:
        async with self._database.transaction() as connection:
            inserted = await connection.fetchrow(_INSERT, workflow_id, self._caller.owner, name, text)
            row = inserted or await connection.fetchrow(_LATEST, *self._sight(), workflow_id)
        assert row, "workflows are never deleted"
        return _view(row), inserted is not None

    async def _fetch(self, query: str, argument: UUID | int) -> list[asyncpg.Record]:
        async with self._database.transaction() as connection:
            return await connection.fetch(query, *self._sight(), argument)

    def _sight(self) -> tuple[str, bool]:
        return self._caller.owner, self._caller.sees_only is None


def _view(row: asyncpg.Record) -> WorkflowView:
    return WorkflowView(
        id=row["workflow_id"],
        version=row["version"],
        name=row["name"],
        created_at=row["created_at"],
        graph=WorkflowGraph.model_validate_json(row["graph"]),
    )
