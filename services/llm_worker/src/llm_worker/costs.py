"""What model calls have cost, summed up from the ledger."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from shared.contracts.queries import MAX_COST_ROWS, CostRow, CostsBy, CostsReply
from shared.database import Database

_KEYS: Mapping[CostsBy, str] = MappingProxyType(
    {
        CostsBy.DAY: "(started_at AT TIME ZONE 'UTC')::date::text",
        CostsBy.WORKFLOW: "workflow_id::text",
        CostsBy.MODEL: "model",
    }
)
_ORDERS: Mapping[CostsBy, str] = MappingProxyType(
    {CostsBy.DAY: "key DESC", CostsBy.WORKFLOW: "cost DESC, key", CostsBy.MODEL: "cost DESC, key"}
)
# A call that failed without a word of what it used is taken to have cost nothing.
_FIND = """
SELECT key, count(*) AS calls,
    count(*) FILTER (WHERE status = 'failed') AS failed,
    count(*) FILTER (WHERE status = 'unknown') AS unknown,
    count(*) FILTER (WHERE cost IS NULL AND (status <> 'failed' OR output_tokens IS NOT NULL)) AS unpriced,
    coalesce(sum(input_tokens), 0)::bigint AS input_tokens,
    coalesce(sum(cached_tokens), 0)::bigint AS cached_tokens,
    coalesce(sum(output_tokens), 0)::bigint AS output_tokens,
    coalesce(sum(cost), 0)::float8 AS cost,
    grouping(key) = 1 AS is_total
FROM (SELECT *, {key} AS key FROM llm_worker.call) AS call
WHERE $1::timestamptz IS NULL OR started_at >= $1
GROUP BY GROUPING SETS ((key), ()) ORDER BY is_total DESC, {order} LIMIT $2
"""
_STATEMENTS = {by: _FIND.format(key=_KEYS[by], order=_ORDERS[by]) for by in CostsBy}


class Costs:
    """Reads the ledger. Sums are exact until they are told."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, by: CostsBy, since: datetime | None) -> CostsReply:
        """Return what calls have cost; raise UnavailableError while the database is away."""
        async with self._database.transaction() as connection:
            total, *rows = await connection.fetch(_STATEMENTS[by], since, MAX_COST_ROWS + 1)
        read = [CostRow.model_validate(dict(row), by_name=True) for row in (total, *rows)]
        return CostsReply(by=by, since=since, rows=tuple(read[1:]), total=read[0])
