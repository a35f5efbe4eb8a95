"""The API keys: the only code that touches the table `api_key`. Of a key only its SHA-256 is kept."""

import secrets
from dataclasses import asdict, dataclass, field
from datetime import datetime
from hashlib import sha256
from uuid import UUID, uuid4

import asyncpg

from gateway.domain.callers import Caller, KeyScope, Limits
from gateway.patience import Patience
from shared.contracts.errors import invalid
from shared.contracts.owners import LOCAL_OWNER
from shared.database import Database

_INITIAL = "initial"
_PREFIX = "weft_"
_RANDOM_BYTES = 32

_INSERT = """
INSERT INTO gateway.api_key (
    key_id, name, digest, owner, scopes, requests_per_minute, concurrent_runs, daily_budget, expires_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING *
"""
_REPLACE_INITIAL = """
INSERT INTO gateway.api_key (key_id, name, digest, owner, scopes, is_initial) VALUES ($1, $2, $3, $4, $5, true)
ON CONFLICT (is_initial) WHERE is_initial DO UPDATE SET digest = excluded.digest, revoked_at = NULL
"""
_FIND = """
SELECT * FROM gateway.api_key
WHERE digest = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""
_LIST = "SELECT * FROM gateway.api_key ORDER BY created_at DESC, key_id LIMIT $1"
_REVOKE = """
UPDATE gateway.api_key SET revoked_at = CASE WHEN NOT is_initial THEN coalesce(revoked_at, now()) END
WHERE key_id = $1 RETURNING *
"""


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a key is to be good for."""

    name: str
    owner: str
    scopes: frozenset[KeyScope]
    limits: Limits = field(default_factory=Limits)
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ApiKey(NewKey):
    """A key that was made, without its secret."""

    key_id: UUID = field(default_factory=uuid4)
    created_at: datetime | None = None
    revoked_at: datetime | None = None

    @property
    def caller(self) -> Caller:
        """Whoever holds the key."""
        return Caller(self.key_id, self.owner, self.scopes, self.limits)


class ApiKeys:
    """Makes keys, finds and revokes them.

    Every method raises `database_unavailable` while the database is away.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._patience = Patience()

    async def create(self, new: NewKey) -> tuple[ApiKey, str]:
        """Keep a new key, and return it with its secret of 256 random bits, which cannot be had again."""
        secret = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        values = (uuid4(), new.name, digest_of(secret), new.owner, sorted(new.scopes))
        rows = await self._fetch(_INSERT, *values, *asdict(new.limits).values(), new.expires_at)
        return _key(rows[0]), secret

    async def set_initial(self, secret: str) -> None:
        """Let this secret, and no earlier one that was set so, be the initial administrator's key."""
        await self._fetch(_REPLACE_INITIAL, uuid4(), _INITIAL, digest_of(secret), LOCAL_OWNER, [KeyScope.ADMIN])

    async def find(self, secret: str) -> ApiKey | None:
        """Return the key with that secret; None if there is none, or none that holds now."""
        rows = await self._fetch(_FIND, digest_of(secret))
        return _key(rows[0]) if rows else None

    async def newest(self, limit: int) -> tuple[ApiKey, ...]:
        """Return the newest keys, the revoked ones among them."""
        return tuple(map(_key, await self._fetch(_LIST, limit)))

    async def revoke(self, key_id: UUID) -> ApiKey:
        """End a key for good, and return it; raise `key_not_found`, or `initial_key` for the one that is a setting."""
        rows = await self._fetch(_REVOKE, key_id)
        if not rows:
            raise invalid("key_not_found", f"there is no key {key_id}", where="keyId")
        if rows[0]["is_initial"]:
            raise invalid(
                "initial_key",
                "this key is a setting of the gateway",
                where="keyId",
                fix="change WEFT_API_KEY, and start the gateway again",
            )
        return _key(rows[0])

    async def _fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        return await self._patience.in_time(self._in_transaction(query, *arguments))

    async def _in_transaction(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        async with self._database.transaction() as connection:
            return await connection.fetch(query, *arguments)


def digest_of(secret: str) -> bytes:
    """Return what is kept of a secret. It has 256 random bits, so no slow hash is needed to protect it."""
    return sha256(secret.encode()).digest()


def _key(row: asyncpg.Record) -> ApiKey:
    limits = Limits(row["requests_per_minute"], row["concurrent_runs"], row["daily_budget"])
    return ApiKey(
        name=row["name"],
        owner=row["owner"],
        scopes=frozenset(map(KeyScope, row["scopes"])),
        limits=limits,
        expires_at=row["expires_at"],
        key_id=row["key_id"],
        created_at=row["created_at"],
        revoked_at=row["revoked_at"],
    )
