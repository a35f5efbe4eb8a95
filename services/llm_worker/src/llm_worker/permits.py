"""Permits to call a provider: as many at a time, and as much in a minute, as its limits allow, whichever worker asks.

What was used of a provider is a row that all workers share, and so are the permits that are out.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from uuid import UUID, uuid4

from structlog import get_logger

from llm_worker.domain.provider import Provider
from llm_worker.meters import Meters, Used
from llm_worker.patience import LAST_PAUSE
from llm_worker.presence import Presence
from shared.contracts.errors import UnavailableError
from shared.database import Connection, Database

# Between looks at whether another worker has given something back; what this one does is known at once.
RECHECK_SECONDS = 0.5

_OPEN = "INSERT INTO llm_worker.provider (provider) VALUES ($1) ON CONFLICT DO NOTHING"
# A permit that PostgreSQL forgets in a crash makes a provider's limit a little softer: it is not waited for the disk.
_LOCK = """
SELECT requests, tokens, (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now,
    set_config('synchronous_commit', 'off', true)
FROM llm_worker.provider WHERE provider = $1 FOR UPDATE
"""
_TAKE_BACK = "DELETE FROM llm_worker.permit WHERE permit_id = ANY($1::uuid[]) RETURNING permit_id"
_COUNT = "SELECT count(*) FROM llm_worker.permit WHERE provider = $1"
_SAVE = "UPDATE llm_worker.provider SET requests = $2, tokens = $3 WHERE provider = $1"
_GRANT = """
INSERT INTO llm_worker.permit (permit_id, provider, worker)
SELECT permit_id, $2, $3 FROM unnest($1::uuid[]) AS permit_id
"""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Permit:
    """The right to make one call that takes about so many tokens."""

    permit_id: UUID
    tokens: int


@dataclass(frozen=True, slots=True)
class _Returned:
    """A permit that is not needed any more, and by how much it was wrong."""

    permit_id: UUID
    requests: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class _Waiting:
    permit: Permit
    turn: "asyncio.Future[Permit]"


class PermitDesk:
    """Gives out the permits of one provider, in the order in which this process asked; `run` must be running.

    Who has taken a permit must give it back. While the database is away, who asks for one waits.
    """

    def __init__(self, provider: Provider, database: Database, presence: Presence) -> None:
        self.provider = provider
        self._database = database
        self._presence = presence
        self._meters = Meters(provider.limits)
        limits = provider.limits
        bounds = (limits.concurrency, limits.requests_per_minute, limits.tokens_per_minute)
        self._is_limited = any(bound is not None for bound in bounds)
        self._waiting: deque[_Waiting] = deque()
        self._returned: list[_Returned] = []
        self._changed = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many in this process wait for a permit."""
        return len(self._waiting)

    async def take(self, tokens: int) -> Permit:
        """Return a permit as soon as the limits allow one more call that takes about so many tokens."""
        permit = Permit(uuid4(), tokens)
        if not self._is_limited:
            return permit
        waiting = _Waiting(permit, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._changed.set()
        try:
            return await waiting.turn
        except asyncio.CancelledError:
            self._leave(waiting)
            raise

    def give_back(self, permit: Permit, *, tokens: int | None) -> None:
        """Give a permit back after its call, which took so many tokens; None is as many as had been thought."""
        self._give_back(_Returned(permit.permit_id, tokens=0 if tokens is None else tokens - permit.tokens))

    def give_back_unused(self, permit: Permit) -> None:
        """Give a permit back with which no call was made."""
        self._give_back(_Returned(permit.permit_id, requests=-1, tokens=-permit.tokens))

    async def open(self) -> None:
        """Make the provider known to the database."""
        async with self._database.transaction() as connection:
            await connection.execute(_OPEN, self.provider.name)

    async def run(self) -> None:
        """Serve those who wait, for ever."""
        while True:
            try:
                pause = await self._round()
            except UnavailableError as err:
                log.warning("no permits are given out", provider=self.provider.name, reason=str(err))
                pause = LAST_PAUSE
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()

    async def close(self) -> None:
        """Take back the last permits, when `run` has ended; if that fails, they go with this process."""
        with suppress(UnavailableError):
            await self._round()

    def _give_back(self, returned: _Returned) -> None:
        if not self._is_limited:
            return
        self._returned.append(returned)
        self._changed.set()

    def _leave(self, waiting: _Waiting) -> None:
        """Take back the turn of somebody who does not wait any more: it may have come in the same moment."""
        with suppress(ValueError):
            self._waiting.remove(waiting)
        if waiting.turn.done() and not waiting.turn.cancelled():
            self.give_back_unused(waiting.permit)

    async def _round(self) -> float | None:
        """Serve those who wait now; return in how many seconds to look again, None if nobody is left waiting."""
        self._changed.clear()
        returned, self._returned = self._returned, []
        waiting = tuple(self._waiting)
        if not returned and not waiting:
            return None
        try:
            await self._presence.wait()
            granted, pause = await self._book(waiting, returned)
        except BaseException:
            # It may have been committed all the same: then these are permits that nobody has.
            self._returned += [*returned, *(_Returned(item.permit.permit_id) for item in waiting)]
            raise
        for item in waiting[:granted]:
            self._hand_over(item)
        return pause

    def _hand_over(self, item: _Waiting) -> None:
        with suppress(ValueError):
            self._waiting.remove(item)
        if item.turn.done():
            self.give_back_unused(item.permit)
        else:
            item.turn.set_result(item.permit)

    async def _book(self, waiting: Sequence[_Waiting], returned: Sequence[_Returned]) -> tuple[int, float | None]:
        """Return how many of those who wait got their permits, and when to look again."""
        name = self.provider.name
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(_LOCK, name)
            assert row, f"the provider {name} was not opened"
            now, used = row["now"], Used(row["requests"], row["tokens"])
            for item in await _taken_back(connection, returned):
                used = self._meters.correct(used, now, requests=item.requests, tokens=item.tokens)
            free = _left(self.provider.limits.concurrency, await connection.fetchval(_COUNT, name))
            granted, pause, used = self._grant(waiting, free, used, now)
            await connection.execute(_SAVE, name, used.requests, used.tokens)
            if granted:
                permits = [item.permit.permit_id for item in waiting[:granted]]
                await connection.execute(_GRANT, permits, name, self._presence.worker)
        return granted, pause

    def _grant(self, waiting: Sequence[_Waiting], free: float, used: Used, now: int) -> tuple[int, float | None, Used]:
        """Return how many get permits, when to look again, and what is used then."""
        for granted, item in enumerate(waiting):
            if granted >= free:
                return granted, RECHECK_SECONDS, used
            used, wait = self._meters.use(used, now, item.permit.tokens)
            if wait:
                return granted, min(wait, RECHECK_SECONDS), used
        return len(waiting), None, used


def _left(concurrency: int | None, under_way: int) -> float:
    return inf if concurrency is None else concurrency - under_way


async def _taken_back(connection: Connection, returned: Sequence[_Returned]) -> list[_Returned]:
    """Return those of the permits that were there: what is given back twice is corrected once."""
    if not returned:
        return []
    rows = await connection.fetch(_TAKE_BACK, [item.permit_id for item in returned])
    there = {row["permit_id"] for row in rows}
    return [item for item in returned if item.permit_id in there]
