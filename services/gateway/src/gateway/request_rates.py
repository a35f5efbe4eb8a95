"""How often keys may ask: the only code that touches the table `request_rate`, which all replicas share.

The generic cell rate algorithm: of each key one time is kept, at which its allowance will be whole again.
"""

from datetime import timedelta
from uuid import UUID

from gateway.patience import Patience
from gateway.problems import LimitedError
from shared.contracts.errors import Problem
from shared.database import Database

BURST = timedelta(minutes=1)  # as many requests as are allowed in this time may come at once

_TAKE = """
INSERT INTO gateway.request_rate AS rate (key_id, whole_at) VALUES ($1, now() + $2::interval)
ON CONFLICT (key_id) DO UPDATE SET whole_at = greatest(rate.whole_at, now()) + $2::interval
WHERE greatest(rate.whole_at, now()) + $2::interval <= now() + $3::interval
RETURNING true
"""
_WAIT = "SELECT whole_at + $2::interval - $3::interval - now() FROM gateway.request_rate WHERE key_id = $1"


class RequestRates:
    """Counts requests by key; raises `database_unavailable` while the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._patience = Patience()

    async def take(self, key_id: UUID, per_minute: int) -> None:
        """Count a request; raise `rate_limited` with the time to wait if it is one too many."""
        wait = await self._patience.in_time(self._take(key_id, BURST / per_minute))
        if wait is not None:
            problem = Problem(
                code="rate_limited",
                message=f"this key may make {per_minute} requests in a minute",
                fix=f"wait {max(0.0, wait.total_seconds()):.1f} s",
            )
            raise LimitedError(problem, retry_after=wait.total_seconds())

    async def _take(self, key_id: UUID, interval: timedelta) -> timedelta | None:
        """Return how long to wait; None if the request is allowed."""
        async with self._database.transaction() as connection:
            if await connection.fetchval(_TAKE, key_id, interval, BURST):
                return None
            return await connection.fetchval(_WAIT, key_id, interval, BURST) or timedelta(0)
