"""The ledger: a row for each call of a model, from before it is made; the reply is in it before anybody is told.

What is asked for is known by run, node, attempt and number; each try to get it is a row of its own.
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from pydantic import JsonValue

from llm_worker.domain.endings import Ending, KeptError
from llm_worker.domain.model import ModelCall, ModelError, ModelReply
from llm_worker.presence import LIVING, Presence
from shared.database import Connection, Database

PRUNED_AT_ONCE = 500  # rows

_OPEN = """
INSERT INTO llm_worker.call
    (call_id, run_id, node_id, attempt, number, workflow_id, provider, model, worker, worker_name)
VALUES ($5, $1, $2, $3, $4, $6, $7, $8, $9, $10)
ON CONFLICT DO NOTHING RETURNING call_id
"""
_THE_CALL = "run_id = $1 AND node_id = $2 AND attempt = $3 AND number = $4"
_FIND = f"""
SELECT reply, error FROM llm_worker.call
WHERE {_THE_CALL} AND (reply IS NOT NULL OR error IS NOT NULL) ORDER BY reply IS NULL, finished_at LIMIT 1
"""  # noqa: S608 - a constant
_IS_THERE = "SELECT EXISTS (SELECT FROM llm_worker.call WHERE call_id = $1)"
_CLOSE_DEAD = f"""
UPDATE llm_worker.call SET status = 'unknown', finished_at = now()
WHERE {_THE_CALL} AND status = 'started' AND worker NOT IN ({LIVING})
"""  # noqa: S608 - constants
_FORGET = "DELETE FROM llm_worker.call WHERE call_id = $1"
# Also of a row that others took for that of a dead worker: what is known now is more than they knew.
_SETTLE = """
UPDATE llm_worker.call SET status = $2, error_code = $3, finished_at = now(), answered_by = $4,
    input_tokens = $5, cached_tokens = $6, output_tokens = $7, cost = $8, price = $9::text::jsonb,
    reply = $10::text::json, error = $11::text::json
WHERE call_id = $1 AND status IN ('started', 'unknown')
"""
_PRUNE_REPLIES = """
UPDATE llm_worker.call SET reply = NULL WHERE call_id IN (
    SELECT call_id FROM llm_worker.call WHERE reply IS NOT NULL AND started_at < now() - $1::interval
    ORDER BY started_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
"""
_PRUNE_ROWS = """
DELETE FROM llm_worker.call WHERE call_id IN (
    SELECT call_id FROM llm_worker.call WHERE started_at < now() - $1::interval AND status <> 'started'
    ORDER BY started_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
"""

Price = Mapping[str, JsonValue]
Known = ModelReply | ModelError


class Ledger:
    """The only code that writes the table of calls. Every method raises UnavailableError while the database is away."""

    def __init__(self, database: Database, presence: Presence, *, worker_name: str) -> None:
        self._database = database
        self._presence = presence
        self._worker_name = worker_name

    async def find(self, call: ModelCall) -> Known | None:
        """Return what is known to have come of a call; None if it is under way, was never made, or nobody knows."""
        async with self._database.session() as connection:
            return await _find(connection, call)

    async def open(self, call: ModelCall, call_id: UUID) -> Known | UUID | None:
        """Commit a row for a call that is to be made now, and return its id, which is `call_id`.

        Returns instead what came of it meanwhile, or None while it is under way in a process that lives. Asked again
        with the same `call_id`, it says the same. A row of a dead process for the same call becomes `unknown`.
        """
        await self._presence.wait()
        async with self._database.transaction() as connection:
            if not await self._insert(connection, call, call_id):
                return call_id if await connection.fetchval(_IS_THERE, call_id) else None
            # Looked for only now, when nobody else can have the call under way any more.
            known = await _find(connection, call)
            if known is not None:
                await connection.execute(_FORGET, call_id)
            return call_id if known is None else known

    async def forget(self, call_id: UUID) -> None:
        """Delete the row of a call that was not made."""
        await self._database.execute(_FORGET, call_id)

    async def settle(self, call_id: UUID, ending: Ending, price: Price | None) -> None:
        """Commit how a call ended."""
        usage, reply, error = ending.usage, ending.reply, ending.error
        await self._database.execute(
            _SETTLE,
            call_id,
            ending.status,
            ending.error_code,
            usage and usage.model,
            usage and usage.input_tokens,
            usage and usage.cached_tokens,
            usage and usage.output_tokens,
            ending.cost,
            json.dumps(price) if price else None,
            reply and reply.to_json().decode(),
            error and error.to_json().decode(),
        )

    async def prune(self, *, replies: timedelta, rows: timedelta) -> bool:
        """Delete some replies and some rows that are older than that; tell whether there may be more."""
        async with self._database.transaction() as connection:
            emptied = await connection.execute(_PRUNE_REPLIES, replies, PRUNED_AT_ONCE)
            deleted = await connection.execute(_PRUNE_ROWS, rows, PRUNED_AT_ONCE)
        return any(int(done.rpartition(" ")[2]) == PRUNED_AT_ONCE for done in (emptied, deleted))

    async def _insert(self, connection: Connection, call: ModelCall, call_id: UUID) -> bool:
        row = (
            *_key(call),
            call_id,
            call.workflow_id,
            call.provider.name,
            call.request.model,
            self._presence.worker,
            self._worker_name,
        )
        if await connection.fetchval(_OPEN, *row):
            return True
        await connection.execute(_CLOSE_DEAD, *_key(call))
        return await connection.fetchval(_OPEN, *row) is not None


async def _find(connection: Connection, call: ModelCall) -> Known | None:
    row = await connection.fetchrow(_FIND, *_key(call))
    if row is None:
        return None
    if row["reply"] is not None:
        return ModelReply.model_validate_json(row["reply"])
    return KeptError.model_validate_json(row["error"]).as_error()


def _key(call: ModelCall) -> tuple[UUID, str, int, int]:
    return call.run_id, call.node_id, call.attempt, call.number
