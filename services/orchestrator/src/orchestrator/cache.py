"""The outputs that may be reused, in PostgreSQL: found by what they depend on, kept within limits of size and age."""

from collections.abc import Iterable, Mapping
from datetime import timedelta

from pydantic import TypeAdapter

from shared.contracts.base import QUIET
from shared.contracts.values import Value
from shared.database import Connection, Database

_read_value = TypeAdapter[Value](Value, config=QUIET).validate_json

# A use is noted once an hour at most, and never waited for: what is needed is the order of eviction, roughly.
_FIND = """
WITH found AS (SELECT key, output, last_used_at FROM orchestrator.cache WHERE key = ANY($1::text[])),
stale AS (
    SELECT cache.key FROM orchestrator.cache JOIN found USING (key)
    WHERE found.last_used_at < now() - interval '1 hour' FOR UPDATE OF cache SKIP LOCKED
),
noted AS (UPDATE orchestrator.cache SET last_used_at = now() FROM stale WHERE cache.key = stale.key)
SELECT key, output FROM found
"""
_KEEP = """
INSERT INTO orchestrator.cache (key, output, bytes)
SELECT key, output::jsonb, octet_length(output) FROM unnest($1::text[], $2::text[]) AS kept (key, output)
ON CONFLICT DO NOTHING
"""
_EVICT = """
DELETE FROM orchestrator.cache WHERE last_used_at < now() - $1::interval OR key IN (
    SELECT key FROM (
        SELECT key, sum(bytes) OVER (ORDER BY last_used_at DESC, key) AS total FROM orchestrator.cache
    ) AS by_use WHERE total > $2
)
"""


async def find(connection: Connection, keys: Iterable[str]) -> dict[str, Value]:
    """Return the outputs that are known, by key."""
    rows = await connection.fetch(_FIND, list(keys))
    return {row["key"]: _read_value(row["output"]) for row in rows}


async def keep(connection: Connection, outputs: Mapping[str, Value]) -> None:
    """Keep outputs by their keys; one that is kept already stays."""
    # In order, so that replicas that keep the same ones do not wait for each other in a circle.
    keys = sorted(outputs)
    await connection.execute(_KEEP, keys, [outputs[key].to_json().decode() for key in keys])


async def evict(database: Database, *, max_age: timedelta, max_bytes: int) -> None:
    """Delete what was not used for `max_age`, and then the least recently used until `max_bytes` are left."""
    async with database.transaction() as connection:
        await connection.execute(_EVICT, max_age, max_bytes)
