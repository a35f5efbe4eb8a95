"""The statements that merge records into the tables, by the rules of `Record.merge`; made from the records' fields.

The tables are partitioned by the week in which the tracker first heard of a run (`run_tracker.partitions`), so that
week is part of each key. Built from the fields of our own models; no value is part of the text.
"""

from collections.abc import Iterable, Sequence

from run_tracker.domain.records import AttemptRecord, LateRecord, NodeRecord, RankedRecord, Record, RunRecord

_RUN_KEY = ("run_id",)
_NODE_KEY = ("run_id", "node_id")
_ATTEMPT_KEY = ("run_id", "node_id", "attempt")
_LATE_KEY = ("run_id", "node_id", "attempt", "outcome", "at")


def _insert_sql(table: str, key: Sequence[str], columns: Iterable[str]) -> str:
    """Return the statement that inserts records, each a JSON object beside its week, in the order of their keys.

    So no two of them deadlock.
    """
    names = tuple(columns)
    return f"""
        INSERT INTO run_tracker.{table} AS old (week, {", ".join(names)})
        SELECT told.week, {", ".join(f"fresh.{name}" for name in names)}
        FROM unnest($1::text[], $2::date[]) AS told (record, week),
            jsonb_populate_record(NULL::run_tracker.{table}, told.record::jsonb) AS fresh
        ORDER BY {", ".join(f"fresh.{name}" for name in key)}
    """  # noqa: S608


def _merge_sql(table: str, key: Sequence[str], model: type[Record]) -> str:
    """Return the statement that merges records into a table."""
    kept = [name for name in model.model_fields if name not in {*key, "status", "rank"}]
    merged = [f"{name} = {_merged(name, model)}" for name in kept]
    if issubclass(model, RankedRecord):
        merged += [
            "status = CASE WHEN excluded.rank > old.rank THEN excluded.status ELSE old.status END",
            "rank = greatest(old.rank, excluded.rank)",
        ]
    return f"""
        {_insert_sql(table, key, model.model_fields)}
        ON CONFLICT ({", ".join((*key, "week"))}) DO UPDATE SET {", ".join(merged)}
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


# The week is that of the database's clock: every replica, and every order of events, finds the same one.
PLACE_RUNS = """
INSERT INTO run_tracker.run_week (run_id, week)
SELECT run_id, date_trunc('week', now() AT TIME ZONE 'UTC')::date FROM unnest($1::uuid[]) AS told (run_id)
ORDER BY run_id
ON CONFLICT DO NOTHING
"""
GET_WEEKS = "SELECT run_id, week FROM run_tracker.run_week WHERE run_id = ANY($1::uuid[])"
MERGE_RUNS = _merge_sql("workflow_run", _RUN_KEY, RunRecord)
MERGE_NODES = _merge_sql("node_execution", _NODE_KEY, NodeRecord)
MERGE_ATTEMPTS = _merge_sql("node_attempt", _ATTEMPT_KEY, AttemptRecord)
ADD_LATE = _insert_sql("late_result", _LATE_KEY, LateRecord.model_fields) + "ON CONFLICT DO NOTHING"
