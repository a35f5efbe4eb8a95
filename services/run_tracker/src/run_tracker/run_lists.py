"""Many runs at once: pages of lists, statistics."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from run_tracker.rows import known
from shared.contracts.cursors import RunCursor
from shared.contracts.history import DayStatistics, GetStatistics, ListRuns, Statistics, StatisticsReply
from shared.contracts.queries import RunsReply, RunView
from shared.database import Database

SHOWN_PROBLEMS = 10  # of each run in a list

_COLUMNS = ", ".join(sorted(RunView.model_fields.keys() - {"nodes", "result", "problems"}))
_LIST = f"""
SELECT {_COLUMNS}, jsonb_path_query_array(problems, '$[0 to {SHOWN_PROBLEMS - 1}]') AS problems
FROM run_tracker.workflow_run AS run
"""  # noqa: S608
# Runs of which nobody has told yet when they were created have no place in the order: they come with that word.
_NEWEST = "ORDER BY created_at DESC, run_id DESC"
_ERROR = """
status IN ('failed', 'partial') AND (problems::text ILIKE {0} OR EXISTS (
    SELECT FROM run_tracker.node_execution AS node
    WHERE node.run_id = run.run_id AND node.week = run.week
    AND concat_ws(' ', node.failure->'error'->>'code', node.failure->'error'->>'message') ILIKE {0}
))
"""
_CONDITIONS: Mapping[str, str] = {
    "workflow_id": "workflow_id = {}",
    "owner": "owner = {}",
    "tag": "tags @> {}::text[]",
    "since": "created_at >= {}",
    "until": "created_at < {}",
    "min_cost": "cost >= {}",
    "max_cost": "cost <= {}",
    "error": _ERROR,
}
_STATISTICS = """
SELECT (created_at AT TIME ZONE 'UTC')::date AS day, count(*) AS runs,
    count(*) FILTER (WHERE status = 'completed') AS completed,
    count(*) FILTER (WHERE status = 'partial') AS partial,
    count(*) FILTER (WHERE status = 'failed') AS failed,
    count(*) FILTER (WHERE status = 'cancelled') AS cancelled,
    count(*) FILTER (WHERE status IN ('failed', 'partial'))::float8
        / nullif(count(*) FILTER (WHERE status IN ('completed', 'failed', 'partial')), 0) AS failure_rate,
    percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - created_at)::float8)
        AS percentiles,
    coalesce(sum(cost), 0) AS cost, coalesce(sum(tokens), 0)::bigint AS tokens
FROM run_tracker.workflow_run
WHERE workflow_id = $1 AND created_at >= $2 AND created_at < $3 AND ($4::text IS NULL OR owner = $4)
GROUP BY GROUPING SETS ((1), ()) ORDER BY 1
"""


class RunLists:
    """What is known of many runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, query: ListRuns) -> RunsReply:
        """Return the runs that a query asks for, newest first, without nodes and results."""
        statement, values = list_statement(query)
        async with self._database.transaction() as connection:
            rows = await connection.fetch(statement, *values)
        runs = [RunView.model_validate(known(row), by_name=True) for row in rows]
        shown = runs[: query.limit]
        return RunsReply(runs=tuple(shown), next=_cursor(shown[-1]) if len(runs) > query.limit else None)

    async def statistics(self, query: GetStatistics) -> StatisticsReply:
        """Return how the runs of a workflow went, in all and by day."""
        values = query.workflow_id, query.since, query.until, query.owner
        async with self._database.transaction() as connection:
            rows = await connection.fetch(_STATISTICS, *values)
        *days, total = (_statistics(dict(row)) for row in rows)
        return StatisticsReply(
            since=query.since,
            until=query.until,
            total=Statistics.model_validate(total, by_name=True),
            days=tuple(DayStatistics.model_validate(day, by_name=True) for day in days),
        )


def list_statement(query: ListRuns) -> tuple[str, list[object]]:
    """Return the statement that reads a page, and one run more, and its values."""
    values: list[object] = []

    def value(content: object) -> str:
        values.append(content)
        return f"${len(values)}"

    conditions = " AND ".join(_conditions(query, value))
    return f"{_LIST} WHERE {conditions} {_NEWEST} LIMIT {value(query.limit + 1)}", values


def _conditions(query: ListRuns, value: Callable[[object], str]) -> Iterator[str]:
    yield _behind(query.after, value) if query.after else "created_at IS NOT NULL"
    if query.status:
        # Part of the text, since a plan may use the index of unusual runs only if it knows which these are.
        yield f"status IN ({', '.join(f'{chr(39)}{status}{chr(39)}' for status in query.status)})"
    for name, condition in _CONDITIONS.items():
        wanted = getattr(query, name)
        if wanted not in (None, ()):
            yield condition.format(value(_containing(wanted) if name == "error" else wanted))


def _behind(cursor: RunCursor, value: Callable[[object], str]) -> str:
    return f"(created_at, run_id) < ({value(cursor.created_at)}::timestamptz, {value(cursor.run_id)}::uuid)"


def _containing(text: str) -> str:
    """Return the pattern of texts that contain a text, in which nothing is a wildcard."""
    return "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"


def _cursor(run: RunView) -> RunCursor:
    assert run.created_at
    return RunCursor(created_at=run.created_at, run_id=run.run_id)


def _statistics(row: Mapping[str, Any]) -> dict[str, object]:
    p50, p95 = row["percentiles"] or (None, None)
    return {**row, "p50_seconds": p50, "p95_seconds": p95}
