"""The tables `workflow_run` and `node_execution`: merged into in batches, read for queries."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
from pydantic import BaseModel

from run_tracker.domain.records import NodeRecord, Record, RunRecord
from shared.contracts.base import without_nul
from shared.contracts.queries import NodeView, RunView
from shared.database import Database

_JSON_COLUMNS = frozenset({"result", "problems", "output", "error", "usage"})


def _merge_sql(table: str, key: Sequence[str], model: type[Record]) -> str:
    """Return the statement that merges records (a JSON array) into a table, by the rules of `Record.merge`."""
    columns = list(model.model_fields)
    kept = [name for name in columns if name not in {*key, "status", "rank"}]
    merged = ", ".join(f"{name} = {_merged(name, per_attempt=name in model.per_attempt)}" for name in kept)
    names = ", ".join(columns)
    # Built from the fields of our own models; no value is part of the text.
    return f"""
        INSERT INTO run_tracker.{table} AS old ({names})
        SELECT {names} FROM jsonb_populate_recordset(NULL::run_tracker.{table}, $1::text::jsonb)
        ORDER BY {", ".join(key)}
        ON CONFLICT ({", ".join(key)}) DO UPDATE SET {merged},
            status = CASE WHEN excluded.rank > old.rank THEN excluded.status ELSE old.status END,
            rank = greatest(old.rank, excluded.rank)
    """  # noqa: S608


def _merged(column: str, *, per_attempt: bool) -> str:
    """Return the expression for a column, where `old` and `excluded` are the records to merge."""
    filled = f"CASE WHEN excluded.rank > old.rank THEN coalesce(excluded.{column}, old.{column})"
    filled += f" ELSE coalesce(old.{column}, excluded.{column}) END"
    if not per_attempt:
        return filled
    newer = "coalesce(excluded.attempt, 0) > coalesce(old.attempt, 0)"
    older = "coalesce(excluded.attempt, 0) < coalesce(old.attempt, 0)"
    return f"CASE WHEN {newer} THEN excluded.{column} WHEN {older} THEN old.{column} ELSE {filled} END"


_MERGE_RUNS = _merge_sql("workflow_run", ("run_id",), RunRecord)
_MERGE_NODES = _merge_sql("node_execution", ("run_id", "node_id"), NodeRecord)
_GET_RUN = "SELECT * FROM run_tracker.workflow_run WHERE run_id = $1"
_GET_NODES = "SELECT * FROM run_tracker.node_execution WHERE run_id = $1 ORDER BY position, node_id"
_LIST_RUNS = """
SELECT * FROM run_tracker.workflow_run
WHERE $1::uuid IS NULL OR workflow_id = $1 ORDER BY created_at DESC NULLS LAST, run_id LIMIT $2
"""

_View = TypeVar("_View", bound=BaseModel)


class RunRepository:
    """The only code that touches the run tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def merge(self, runs: Iterable[RunRecord], nodes: Iterable[NodeRecord]) -> None:
        """Merge records into the tables, in one transaction; at most one record per run and per node."""
        statements = [(_MERGE_RUNS, list(runs)), (_MERGE_NODES, list(nodes))]
        async with self._database.transaction() as connection:
            for statement, records in statements:
                if records:
                    await connection.execute(statement, _rows(records))

    async def get(self, run_id: UUID) -> RunView | None:
        """Return a run with its nodes in the workflow's order, or None."""
        async with self._database.transaction() as connection:
            run = await connection.fetchrow(_GET_RUN, run_id)
            nodes = await connection.fetch(_GET_NODES, run_id)
        if run is None:
            return None
        return _view(RunView, run).model_copy(update={"nodes": tuple(_view(NodeView, node) for node in nodes)})

    async def newest(self, workflow_id: UUID | None, limit: int) -> tuple[RunView, ...]:
        """Return the newest runs, of one workflow or of all, without their nodes."""
        async with self._database.transaction() as connection:
            rows = await connection.fetch(_LIST_RUNS, workflow_id, limit)
        return tuple(_view(RunView, row) for row in rows)


def _rows(records: Sequence[Record]) -> str:
    rows = [record.model_dump(mode="json", by_alias=False) for record in records]
    return without_nul(json.dumps(rows).encode()).decode()


def _view(view: type[_View], row: asyncpg.Record) -> _View:
    known: dict[str, Any] = {name: value for name, value in row.items() if value is not None}
    for name in _JSON_COLUMNS & known.keys():
        known[name] = json.loads(known[name])
    return view.model_validate(known)
