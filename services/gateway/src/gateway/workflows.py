"""The kept workflows: the only code that touches the table `workflow`."""

from datetime import datetime
from uuid import UUID

import asyncpg

from gateway.domain.callers import NOBODY, Caller
from gateway.patience import Patience
from gateway.views import WorkflowList, WorkflowSummary, WorkflowView
from shared.contracts.cursors import Cursor, Moment
from shared.contracts.errors import InvalidInputError, invalid
from shared.contracts.graph import WorkflowGraph
from shared.database import Connection, Database

_INSERT = """
INSERT INTO gateway.workflow (workflow_id, owner, version, name, graph) VALUES ($1, $2, $3, $4, $5::text::jsonb)
ON CONFLICT (workflow_id, owner, version) DO NOTHING RETURNING *
"""
# $1 is the owner who asks; those who see all ($2) find their own first, since others may use the same id.
_FIND = """
SELECT * FROM gateway.workflow
WHERE workflow_id = $3 AND (owner = $1 OR $2) AND ($4::integer IS NULL OR version = $4)
ORDER BY deleted_at IS NOT NULL, owner = $1 DESC, owner, version DESC LIMIT 1
"""
_PAGE = """
SELECT * FROM (
    SELECT DISTINCT ON (owner, workflow_id) workflow_id, version, name, created_at
    FROM gateway.workflow WHERE (owner = $1 OR $2) AND deleted_at IS NULL ORDER BY owner, workflow_id, version DESC
) AS latest
WHERE $4::timestamptz IS NULL OR created_at < $4 OR (created_at = $4 AND workflow_id > $5)
ORDER BY created_at DESC, workflow_id LIMIT $3
"""
_DELETE = """
UPDATE gateway.workflow SET deleted_at = now() WHERE workflow_id = $1 AND owner = $2 AND deleted_at IS NULL
RETURNING version
"""
_RESTORE = "UPDATE gateway.workflow SET deleted_at = NULL WHERE workflow_id = $1 AND owner = $2"


class WorkflowCursor(Cursor):
    """A place in the list of workflows, newest first."""

    created_at: Moment
    id: UUID


class Workflows:
    """Keeps workflows and finds them, as one caller sees them: those of others do not exist.

    Versions are never changed; one that was deleted stays for the history.

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
        """Return the workflow and whether it is new; raise `workflow_conflict` if the id has another graph.

        A deleted workflow with this graph is there again.
        """
        return await self._patience.in_time(self._add(workflow_id, name, graph.to_json().decode()))

    async def update(
        self, workflow_id: UUID, name: str | None, graph: WorkflowGraph, version: int | None
    ) -> WorkflowView:
        """Return the latest version, which has this name, or the one before, and this graph.

        Raises `workflow_not_found`, and `workflow_changed` if `version` is given and is not the latest one before.
        """
        text = graph.to_json().decode()
        return await self._patience.in_time(self._update(workflow_id, name, text, version))

    async def get(self, workflow_id: UUID, version: int | None = None) -> WorkflowView:
        """Return the latest version, or another one; raise `workflow_not_found`."""
        row = await self._patience.in_time(self._read(workflow_id, version))
        if row is None or row["deleted_at"]:
            raise _not_found(workflow_id, version)
        return _view(row)

    async def page(self, limit: int, after: str | None) -> WorkflowList:
        """Return the latest version of each workflow, newest first, after a cursor; raise `invalid_cursor`."""
        cursor = WorkflowCursor.from_text(after) if after is not None else None
        place = (cursor.created_at, cursor.id) if cursor else (None, None)
        rows = await self._patience.in_time(self._fetch_page(limit + 1, *place))
        workflows = tuple(map(_summary, rows[:limit]))
        if len(rows) <= limit:
            return WorkflowList(workflows=workflows)
        last = workflows[-1]
        return WorkflowList(
            workflows=workflows, next_cursor=WorkflowCursor(created_at=last.created_at, id=last.id).to_text()
        )

    async def delete(self, workflow_id: UUID) -> None:
        """Let a workflow be found no more; raise `workflow_not_found`."""
        if not await self._patience.in_time(self._delete(workflow_id)):
            raise _not_found(workflow_id, None)

    async def _add(self, workflow_id: UUID, name: str, text: str) -> tuple[WorkflowView, bool]:
        async with self._database.transaction() as connection:
            if inserted := await connection.fetchrow(_INSERT, workflow_id, self._caller.owner, 1, name, text):
                return _view(inserted), True
            row = await connection.fetchrow(_FIND, *self._own(), workflow_id, None)
            assert row, "versions are never removed"
            workflow = _view(row)
            # Compared as they are stored, since that is what the next one will be compared with.
            if workflow.graph != WorkflowGraph.model_validate_json(text):
                raise _conflict(workflow_id)
            if row["deleted_at"]:
                await connection.execute(_RESTORE, workflow_id, self._caller.owner)
            return workflow, bool(row["deleted_at"])

    async def _update(self, workflow_id: UUID, name: str | None, text: str, version: int | None) -> WorkflowView:
        async with self._database.transaction() as connection:
            while True:
                row = await connection.fetchrow(_FIND, *self._sight(), workflow_id, None)
                if row is None or row["deleted_at"]:
                    raise _not_found(workflow_id, None)
                latest = _view(row)
                if version is not None and version != latest.version:
                    raise _changed(latest, version)
                if updated := await _next_version(connection, row, name or latest.name, text):
                    return updated

    async def _read(self, workflow_id: UUID, version: int | None) -> asyncpg.Record | None:
        async with self._database.transaction() as connection:
            return await connection.fetchrow(_FIND, *self._sight(), workflow_id, version)

    async def _fetch_page(self, limit: int, created_at: datetime | None, id_: UUID | None) -> list[asyncpg.Record]:
        async with self._database.transaction() as connection:
            return await connection.fetch(_PAGE, *self._sight(), limit, created_at, id_)

    async def _delete(self, workflow_id: UUID) -> bool:
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(_FIND, *self._sight(), workflow_id, None)
            return row is not None and await connection.fetchval(_DELETE, workflow_id, row["owner"]) is not None

    def _own(self) -> tuple[str, bool]:
        return self._caller.owner, False

    def _sight(self) -> tuple[str, bool]:
        return self._caller.owner, self._caller.sees_only is None


async def _next_version(connection: Connection, row: asyncpg.Record, name: str, text: str) -> WorkflowView | None:
    """Return the version that follows, or the latest if it says the same; None if another one came first."""
    latest = _view(row)
    if (latest.name, latest.graph) == (name, WorkflowGraph.model_validate_json(text)):
        return latest
    added = await connection.fetchrow(_INSERT, latest.id, row["owner"], latest.version + 1, name, text)
    return _view(added) if added else None


def _summary(row: asyncpg.Record) -> WorkflowSummary:
    return WorkflowSummary(
        id=row["workflow_id"], version=row["version"], name=row["name"], created_at=row["created_at"]
    )


def _view(row: asyncpg.Record) -> WorkflowView:
    graph = WorkflowGraph.model_validate_json(row["graph"])
    return WorkflowView(**_summary(row).model_dump(), graph=graph)


def _not_found(workflow_id: UUID, version: int | None) -> InvalidInputError:
    what = f"no workflow {workflow_id}" if version is None else f"no version {version} of a workflow {workflow_id}"
    return invalid("workflow_not_found", f"there is {what}", where="id" if version is None else "version")


def _conflict(workflow_id: UUID) -> InvalidInputError:
    return invalid(
        "workflow_conflict",
        f"the workflow {workflow_id} exists, with another graph",
        where="id",
        fix="leave the id out to keep the graph as a new workflow, or update the one that exists: PUT",
    )


def _changed(latest: WorkflowView, version: int) -> InvalidInputError:
    return invalid(
        "workflow_changed",
        f"the latest version of the workflow {latest.id} is {latest.version}, not {version}",
        where="version",
        fix="get it, bring your change into it, and try again with its version",
    )
