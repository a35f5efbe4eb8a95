"""The tables of runs, nodes, attempts and late results: merged into in batches, read for what is known of one run."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import TypeVar
from uuid import UUID

import asyncpg
from pydantic import TypeAdapter

from run_tracker import statements
from run_tracker.domain.records import AttemptRecord, LateRecord, NodeRecord, Record
from run_tracker.domain.telling import Told
from run_tracker.domain.views import node_view
from run_tracker.rows import known, to_row
from shared.contracts.base import QUIET, Contract
from shared.contracts.commands import RunStart
from shared.contracts.cursors import MAX_POSITION, NodeCursor
from shared.contracts.history import MAX_NODE_PAGE
from shared.contracts.queries import LateResult, NodeView, OutputsReply, RunEnd, RunReply, RunView
from shared.contracts.states import FINAL_RUN_STATUSES
from shared.contracts.values import Value
from shared.database import Connection, Database

# Of a page's nodes and the run's result, as JSON; one that is larger makes a page by itself. No message is larger than
# `shared.messaging.publisher.MAX_MESSAGE_BYTES`, so neither is what it told, and the broker takes every page.
PAGE_BYTES = 4 * 1024 * 1024
_START = NodeCursor(position=0, node_id="")

_R = TypeVar("_R", bound=Contract)
_read_value = TypeAdapter[Value](Value, config=QUIET).validate_json

_WEEK = "(SELECT week FROM run_tracker.run_week WHERE run_id = $1)"
_OF_RUN = f"run_id = $1 AND week = {_WEEK}"
# Commands may be large: only who asks for one reads it.
_GET_RUN = f"""
SELECT {", ".join(RunView.model_fields.keys() - {"nodes"})} FROM run_tracker.workflow_run
WHERE {_OF_RUN} AND ($2::text IS NULL OR owner = $2)
"""  # noqa: S608
FIND_RUN = """
SELECT run_id FROM run_tracker.workflow_run
WHERE trigger_run_id = $1 AND ($2::text IS NULL OR owner = $2) ORDER BY created_at DESC NULLS LAST, run_id LIMIT 1
"""
_PLACE = f"coalesce(position, {MAX_POSITION})"
GET_NODES = f"""
SELECT * FROM run_tracker.node_execution
WHERE {_OF_RUN} AND ($2::integer IS NULL OR ({_PLACE}, node_id) > ($2, $3))
ORDER BY {_PLACE}, node_id LIMIT $4
"""  # noqa: S608
_OF_NODES = f"{_OF_RUN} AND node_id = ANY($2::text[])"
_GET_ATTEMPTS = f"SELECT * FROM run_tracker.node_attempt WHERE {_OF_NODES} ORDER BY node_id, attempt"  # noqa: S608
_GET_LATE = f"SELECT * FROM run_tracker.late_result WHERE {_OF_NODES} ORDER BY node_id, attempt, at, outcome"  # noqa: S608
_GET_COMMAND = f"SELECT command FROM run_tracker.workflow_run WHERE {_OF_RUN}"  # noqa: S608
_GET_ENDS = """
SELECT run.run_id, status = ANY($2::text[]) AS ended, coalesce(cost, 0) AS cost
FROM run_tracker.run_week AS place
JOIN run_tracker.workflow_run AS run ON run.run_id = place.run_id AND run.week = place.week
WHERE place.run_id = ANY($1::uuid[])
"""
FIND_OUTPUTS = """
SELECT wanted.node_id, newest.output
FROM unnest($2::text[]) AS wanted (node_id), LATERAL (
    SELECT success->'output' AS output FROM run_tracker.node_execution AS node
    WHERE workflow_id = $1 AND node_id = wanted.node_id AND success IS NOT NULL AND status = 'success'
    AND ($3::text IS NULL OR EXISTS (
        SELECT FROM run_tracker.workflow_run AS run
        WHERE run.run_id = node.run_id AND run.week = node.week AND run.owner = $3
    ))
    ORDER BY run_created_at DESC, run_id LIMIT 1
) AS newest
"""


class RunRepository:
    """What is known of single runs; the only code that writes to the tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def merge(self, told: Told) -> None:
        """Merge what events told into the tables: one statement for each table, all in one transaction."""
        merges: Sequence[tuple[str, Sequence[Record | LateRecord]]] = (
            (statements.MERGE_RUNS, list(told.runs.values())),
            (statements.MERGE_NODES, list(told.nodes.values())),
            (statements.MERGE_ATTEMPTS, list(told.attempts.values())),
            (statements.ADD_LATE, told.late),
        )
        async with self._database.transaction() as connection:
            run_ids = {record.run_id for _, records in merges for record in records}
            await connection.execute(statements.PLACE_RUNS, run_ids)
            weeks = {row["run_id"]: row["week"] for row in await connection.fetch(statements.GET_WEEKS, run_ids)}
            for statement, records in merges:
                if records:
                    rows, at = [to_row(record) for record in records], [weeks[record.run_id] for record in records]
                    await connection.execute(statement, rows, at)

    async def get(self, run_id: UUID, owner: str | None = None) -> RunView | None:
        """Return a run with all its nodes in the workflow's order, or None; with an owner, only one of theirs."""
        first = page = await self.page(run_id, owner)
        if first.run is None:
            return None
        nodes = list(first.run.nodes or ())
        while page.next:
            page = await self.page(run_id, owner, page.next)
            nodes += (page.run and page.run.nodes) or ()
        return first.run.model_copy(update={"nodes": tuple(nodes)})

    async def page(self, run_id: UUID, owner: str | None = None, after: NodeCursor | None = None) -> RunReply:
        """Return a run with as many of its nodes as a page holds: the first ones, or those behind a cursor."""
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(_GET_RUN, run_id, owner)
            if row is None:
                return RunReply()
            told = {**known(row), **({"result": None} if after else {})}
            size = len(row["result"] or "") if after is None else 0
            nodes, following = await _page_of_nodes(connection, run_id, after, size)
        return RunReply(run=RunView.model_validate({**told, "nodes": nodes}, by_name=True), next=following)

    async def find(self, trigger_run_id: str, owner: str | None = None) -> RunReply:
        """Return the run that its caller named so, with its first nodes; if there is an owner, only one of theirs."""
        async with self._database.transaction() as connection:
            run_id = await connection.fetchval(FIND_RUN, trigger_run_id, owner)
        return await self.page(run_id, owner) if run_id else RunReply()

    async def command(self, run_id: UUID) -> RunStart | None:
        """Return how a run was asked for, or None where that is not known."""
        async with self._database.transaction() as connection:
            command = await connection.fetchval(_GET_COMMAND, run_id)
        return RunStart.model_validate_json(command) if command else None

    async def outputs(self, workflow_id: UUID, node_ids: Sequence[str], owner: str | None = None) -> OutputsReply:
        """Return the output of each of these nodes in the newest run of a workflow in which it succeeded.

        As many as a page holds, at least one, if there is any; the others are left to be asked for again.
        """
        size, found = 0, dict[str, Value]()
        async with self._database.transaction() as connection:
            async for row in connection.cursor(FIND_OUTPUTS, workflow_id, node_ids, owner, prefetch=20):
                size += len(row["output"])
                if found and size > PAGE_BYTES:
                    return OutputsReply(outputs=found, left=tuple(name for name in node_ids if name not in found))
                found[row["node_id"]] = _read_value(row["output"])
        return OutputsReply(outputs=found)

    async def ends(self, run_ids: Sequence[UUID]) -> tuple[RunEnd, ...]:
        """Return which of these runs have ended, and what they cost; those that are not known are missing."""
        async with self._database.transaction() as connection:
            rows = await connection.fetch(_GET_ENDS, run_ids, list(FINAL_RUN_STATUSES))
        return tuple(RunEnd.model_validate(dict(row), by_name=True) for row in rows)


async def _page_of_nodes(
    connection: Connection, run_id: UUID, after: NodeCursor | None, size: int
) -> tuple[tuple[NodeView, ...], NodeCursor | None]:
    """Return the nodes behind a cursor that fit into a page that has a size already, and where the next one begins.

    A page that has none holds at least one node.
    """
    place = None if after is None else MAX_POSITION if after.position is None else after.position
    is_empty, fitting = not size, list[NodeRecord]()
    async for record in _records(connection, run_id, place, after and after.node_id):
        size += len(record.to_json())
        if not is_empty and (size > PAGE_BYTES or len(fitting) == MAX_NODE_PAGE):
            return await _views(connection, run_id, fitting), _cursor(fitting[-1]) if fitting else _START
        fitting.append(record)
        is_empty = False
    return await _views(connection, run_id, fitting), None


async def _records(
    connection: Connection, run_id: UUID, place: int | None, node_id: str | None
) -> AsyncGenerator[NodeRecord]:
    """Yield the records of nodes behind a place, read as they are needed: one more than a page has, at most."""
    async for row in connection.cursor(GET_NODES, run_id, place, node_id, MAX_NODE_PAGE + 1, prefetch=100):
        yield NodeRecord.model_validate(known(row), by_name=True)


async def _views(connection: Connection, run_id: UUID, records: Iterable[NodeRecord]) -> tuple[NodeView, ...]:
    nodes = {record.node_id: record for record in records}
    late = _by_node(await connection.fetch(_GET_LATE, run_id, list(nodes)), LateResult)
    attempts = _by_node(await connection.fetch(_GET_ATTEMPTS, run_id, list(nodes)), AttemptRecord)
    return tuple(node_view(record, late[node_id], attempts[node_id]) for node_id, record in nodes.items())


def _by_node(rows: Iterable[asyncpg.Record], model: type[_R]) -> defaultdict[str, list[_R]]:
    found: defaultdict[str, list[_R]] = defaultdict(list)
    for row in rows:
        found[row["node_id"]].append(model.model_validate(known(row), by_name=True))
    return found


def _cursor(record: NodeRecord) -> NodeCursor:
    return NodeCursor(position=record.position, node_id=record.node_id)
