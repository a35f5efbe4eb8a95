"""The pool of connections to PostgreSQL, and the translation of its errors."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from structlog import get_logger

from shared.addresses import without_password
from shared.contracts.errors import UnavailableError, unavailable

# Quoted: the classes are generic for type checkers only.
Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

RETRY_SECONDS = 0.2
COMMAND_TIMEOUT = 10.0  # seconds
DEFAULT_CONNECTIONS = 4
# Of a session whose client is gone without a word, as after a power cut, PostgreSQL knows after 30 s or so.
_KEEPALIVES = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "4"}
# Does nothing where there is no such role, or where the user is no member of it.
_TAKE_ROLE = """
SELECT set_config('role', rolname, false) FROM pg_catalog.pg_roles
WHERE rolname = $1 AND pg_has_role(session_user, oid, 'MEMBER')
"""
_GONE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a session that was ended in the middle of a statement
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
)
_REFUSED = (
    asyncpg.InvalidPasswordError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)

log = get_logger(__name__)


class ConflictError(Exception):
    """A statement does not fit what the tables hold: others have written first."""


class Database:
    """A pool whose transactions either commit, or raise UnavailableError where trying again may help."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """Yield a connection in a transaction; committed on leaving, rolled back on an error."""
        try:
            async with self._pool.acquire(timeout=COMMAND_TIMEOUT) as connection, connection.transaction():
                yield connection
        except _GONE as err:
            raise _unavailable(err) from err

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[Connection]:
        """Yield a connection outside of transactions; what its session holds (locks) is given up on leaving."""
        try:
            async with self._pool.acquire(timeout=COMMAND_TIMEOUT) as connection:
                yield connection
        except _GONE as err:
            raise _unavailable(err) from err

    async def execute(self, statement: str, *arguments: object) -> str:
        """Execute one statement, which is a transaction of its own; return its status.

        Raises ConflictError where a constraint of the tables does not allow it.
        """
        try:
            async with self.session() as connection:
                return await connection.execute(statement, *arguments)
        except asyncpg.IntegrityConstraintViolationError as err:
            raise ConflictError from err

    async def answers(self) -> bool:
        """Tell whether the database answers now."""
        try:
            async with asyncio.timeout(3):
                return await self._pool.fetchval("SELECT true")
        except _GONE:
            return False


@asynccontextmanager
async def connect_database(
    url: str,
    *,
    name: str,
    patience: float,
    schema: str,
    role: str | None = None,
    connections: int = DEFAULT_CONNECTIONS,
) -> AsyncGenerator[Database]:
    """Yield the database; one that is still starting is waited for, `patience` seconds at most.

    With a `role` all statements have its rights only, if the user of `url` is a member of it; else those of the user,
    which is logged. Raises UnavailableError: `database_unreachable`, `database_refused`, or `migrations_missing` where
    `schema` is not there.
    """
    pool = await _open_patiently(url, name, patience, role=role, connections=connections)
    try:
        if not await pool.fetchval("SELECT to_regnamespace($1) IS NOT NULL", schema):
            raise unavailable(
                "migrations_missing",
                f"the database has no schema {schema!r}",
                where="WEFT_DATABASE_URL",
                fix="run the migrations: weft setup",
            )
        if role and await pool.fetchval("SELECT current_user::text") != role:
            log.warning("the database user is no member of the role of this service", role=role, service=name)
        yield Database(pool)
    finally:
        pool.terminate()


async def wait_for_database(url: str, *, patience: float) -> None:
    """Return once the database answers; raise as `connect_database` does if it does not in time."""
    pool = await _open_patiently(url, "setup", patience)
    await pool.close()


async def _open_patiently(
    url: str, name: str, patience: float, *, role: str | None = None, connections: int = DEFAULT_CONNECTIONS
) -> "asyncpg.Pool[asyncpg.Record]":
    async def take_role(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        if role:
            await connection.execute(_TAKE_ROLE, role)

    deadline = asyncio.get_running_loop().time() + patience
    while True:
        try:
            return await asyncpg.create_pool(
                url,
                min_size=1,
                max_size=connections,
                timeout=5,
                command_timeout=COMMAND_TIMEOUT,
                server_settings={"application_name": f"weft {name}", **_KEEPALIVES},
                init=take_role,
            )
        except _REFUSED as err:
            raise _refused(url, err) from err
        except _GONE as err:
            if asyncio.get_running_loop().time() > deadline:
                raise _unreachable(url, err) from err
            await asyncio.sleep(RETRY_SECONDS)


def _refused(url: str, err: Exception) -> UnavailableError:
    """Return the error that says that the database does not let us in."""
    return unavailable(
        "database_refused",
        f"PostgreSQL at {without_password(url)} refuses: {err}",
        where="WEFT_DATABASE_URL",
        fix="correct the user, the password and the database name in WEFT_DATABASE_URL",
    )


def _unreachable(url: str, err: Exception) -> UnavailableError:
    """Return the error that says that there is no database at that address."""
    return unavailable(
        "database_unreachable",
        f"no PostgreSQL answers at {without_password(url)}: {err or type(err).__name__}",
        where="WEFT_DATABASE_URL",
        fix="start it, or correct WEFT_DATABASE_URL; without the variable, `weft dev` starts one",
    )


def _unavailable(err: Exception) -> UnavailableError:
    return unavailable("database_unavailable", f"PostgreSQL: {err or type(err).__name__}", where="WEFT_DATABASE_URL")
