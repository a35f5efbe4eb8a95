"""The tables `workflow_run`, `node_execution` and `late_result`: merged into in batches, read for queries."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg
from pydantic import TypeAdapter

from run_tracker.domain.records import LateRecord, NodeRecord, Record, RunRecord
from run_tracker.domain.telling import Told
from run_tracker.domain.views import node_view
from shared.contracts.base import Contract, without_nul
from shared.contracts.commands import RunStart
from shared.contracts.queries import LateResult, NodeView, RunEnd, RunView
from shared.contracts.states import FINAL_RUN_STATUSES
from shared.contracts.values import Value
from shared.database import Connection, Database

_JSON_COLUMNS = frozenset({"result", "problems", "start", "success", "failure", "retry", "usage"})
_read_value = TypeAdapter[Value](Value).validate_json
_RUN_KEY = ("run_id",)
_NODE_KEY = ("run_id", "node_id")
_LATE_KEY = ("run_id", "node_id", "attempt", "outcome", "at")


def _insert_sql(table: str, key: Sequence[str], columns: Iterable[str]) -> str:
    """Return the statement that inserts records, each a JSON object, in the order of their keys: so none deadlocks."""
    names = ", ".join(columns)
    # Built from the fields of our own models; no value is part of the text.
    return f"""
        INSERT INTO run_tracker.{table} AS old ({names})
        SELECT {names}
        FROM unnest($1::text[]) AS told (record), jsonb_populate_record(NULL::run_tracker.{table}, record::jsonb)
        ORDER BY {", ".join(key)}
    """  # noqa: S608


def _merge_sql(table: str, key: Sequence[str], model: type[Record]) -> str:
    """Return the statement that merges records into a table, by the rules of `Record.merge`."""
    kept = [name for name in model.model_fields if name not in {*key, "status", "rank"}]
    merged = ", ".join(f"{name} = {_merged(name, model)}" for name in kept)
    return f"""
        {_insert_sql(table, key, model.model_fields)}
        ON CONFLICT ({", ".join(key)}) DO UPDATE SET {merged},
            status = CASE WHEN excluded.rank > old.rank THEN excluded.status ELSE old.status END,
            rank = greatest(old.rank, excluded.rank)
    """


def _merged(column: str, model: type[Record]) -> str:
    """Return the expression for a column, where `old` and `excluded` are the records to merge."""
    old, new = f"old.{column}", f"excluded.{column}"
    if column in model.facts:
        both = f"CASE WHEN {old} IS NULL OR {new}->'order' > {old}->'order' THEN {new} ELSE {old} END"
    else:
        both = f"least({old}, {new})" if column in model.times else f"coalesce({old}, {new})"
    if column not in model.per_attempt:
        return both
    newer, older = (f"coalesce(excluded.attempt, 0) {sign} coalesce(old.attempt, 0)" for sign in "><")
    return f"CASE WHEN {newer} THEN {new} WHEN {older} THEN {old} ELSE {both} END"


_MERGE_RUNS = _merge_sql("workflow_run", _RUN_KEY, RunRecord)
_MERGE_NODES = _merge_sql("node_execution", _NODE_KEY, NodeRecord)
_ADD_LATE = _insert_sql("late_result", _LATE_KEY, LateRecord.model_fields) + "ON CONFLICT DO NOTHING"

# Commands may be large: only who asks for one reads it.
_RUN = f"SELECT {', '.join(RunView.model_fields.keys() - {'nodes'})} FROM run_tracker.workflow_run"  # noqa: S608
_NEWEST = "ORDER BY created_at DESC NULLS LAST, run_id LIMIT $1"


def _list_sql(*columns: str) -> str:
    """Return the statement that lists the newest runs, $1 at most, that have these values, from $2 on."""
    conditions = " AND ".join(f"{column} = ${number}" for number, column in enumerate(columns, 2))
    return f"{_RUN} {'WHERE' if conditions else ''} {conditions} {_NEWEST}"


_GET_RUN = f"{_RUN} WHERE run_id = $1 AND ($2::text IS NULL OR owner = $2)"
_GET_ENDS = """
SELECT run_id, status = ANY($2::text[]) AS ended, coalesce(cost, 0) AS cost FROM run_tracker.workflow_run
WHERE run_id = ANY($1::uuid[])
"""
_GET_NODES = "SELECT * FROM run_tracker.node_execution WHERE run_id = $1 ORDER BY position, node_id"
_GET_LATE = "SELECT * FROM run_tracker.late_result WHERE run_id = $1 ORDER BY node_id, attempt, at, outcome"
_GET_COMMAND = "SELECT command FROM run_tracker.workflow_run WHERE run_id = $1"
_FIND_OUTPUTS = """
SELECT wanted.node_id, newest.output
FROM unnest($2::text[]) AS wanted (node_id), LATERAL (
    SELECT success->'output' AS output FROM run_tracker.node_execution
    WHERE workflow_id = $1 AND node_id = wanted.node_id AND success IS NOT NULL AND status = 'success'
    AND ($3::text IS NULL OR EXISTS (
        SELECT FROM run_tracker.workflow_run AS run
        WHERE run.run_id = node_execution.run_id AND run.owner = $3
    ))
    ORDER BY run_created_at DESC, run_id LIMIT 1
) AS newest
"""


class RunRepository:
    """The only code that touches the run tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def merge(self, told: Told) -> None:
        """Merge what events told into the tables: one statement for each table, all in one transaction."""
        statements: Sequence[tuple[str, Iterable[Contract]]] = (
            (_MERGE_RUNS, told.runs.values()),
            (_MERGE_NODES, told.nodes.values()),
            (_ADD_LATE, told.late),
        )
        async with self._database.transaction() as connection:
            for statement, records in statements:
                if rows := [_row(record) for record in records]:
                    await connection.execute(statement, rows)

    async def get(self, run_id: UUID, owner: str | None = None) -> RunView | None:
        """Return a run with its nodes in the workflow's order, or None; if there is an owner, only one of theirs."""
        async with self._database.transaction() as connection:
            run = await connection.fetchrow(_GET_RUN, run_id, owner)
            if run is None:
                return None
            nodes = await _nodes(connection, run_id)
        return RunView.model_validate({**_known(run), "nodes": nodes}, by_name=True)

    async def newest(self, workflow_id: UUID | None, limit: int, owner: str | None = None) -> tuple[RunView, ...]:
        """Return the newest runs, of one workflow or of all, of one owner or of all, without their nodes."""
        wanted = {"workflow_id": workflow_id, "owner": owner}
        filters = {column: value for column, value in wanted.items() if value is not None}
        async with self._database.transaction() as connection:
            rows = await connection.fetch(_list_sql(*filters), limit, *filters.values())
        return tuple(RunView.model_validate(_known(row), by_name=True) for row in rows)

    async def command(self, run_id: UUID) -> RunStart | None:
        """Return how a run was asked for, or None where that is not known."""
        async with self._database.transaction() as connection:
            command = await connection.fetchval(_GET_COMMAND, run_id)
        return RunStart.model_validate_json(command) if command else None

    async def outputs(self, workflow_id: UUID, node_ids: Sequence[str], owner: str | None = None) -> dict[str, Value]:
        """Return the output of each of these nodes in the newest run of a workflow in which it succeeded."""
        async with self._database.transaction() as connection:
            rows = await connection.fetch(_FIND_OUTPUTS, workflow_id, node_ids, owner)
        return {row["node_id"]: _read_value(row["output"]) for row in rows}

    async def ends(self, run_ids: Sequence[UUID]) -> tuple[RunEnd, ...]:
        """Return which of these runs have ended, and what they cost; those that are not known are missing."""
        async with self._database.transaction() as connection:
            rows = await connection.fetch(_GET_ENDS, run_ids, list(FINAL_RUN_STATUSES))
        return tuple(RunEnd.model_validate(dict(row), by_name=True) for row in rows)


async def _nodes(connection: Connection, run_id: UUID) -> tuple[NodeView, ...]:
    late: dict[str, list[LateResult]] = defaultdict(list)
    for row in await connection.fetch(_GET_LATE, run_id):
        late[row["node_id"]].append(LateResult.model_validate(_known(row), by_name=True))
    nodes = await connection.fetch(_GET_NODES, run_id)
    records = (NodeRecord.model_validate(_known(node), by_name=True) for node in nodes)
    return tuple(node_view(record, late[record.node_id]) for record in records)


def _row(record: Contract) -> str:
    row = record.model_dump_json(by_alias=False, exclude_none=True).encode()
    return without_nul(row).decode()


def _known(row: asyncpg.Record) -> Mapping[str, Any]:
    """Return the columns of a row that are not NULL, by name; JSON is read."""
    known = {name: value for name, value in row.items() if value is not None}
    return known | {name: json.loads(known[name]) for name in _JSON_COLUMNS & known.keys()}
