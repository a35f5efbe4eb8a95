"""Database migrations: every package that owns a schema names its versions by the entry point `weft.migrations`.

The entry point's name is the schema; its value is a module whose folder holds `versions/`.
"""

import asyncio
import logging
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from structlog import get_logger

from shared.contracts.errors import unavailable
from shared.database import wait_for_database

# Any number that no other user of the database takes for its own: one set-up at a time.
_LOCK = 0x5745_4654

log = get_logger(__name__)


def _packages() -> Iterator[tuple[str, Path]]:
    """Yield each schema with the folder of its versions."""
    for entry in sorted(entry_points(group="weft.migrations"), key=lambda entry: entry.name):
        module = import_module(entry.value)
        assert module.__file__
        yield entry.name, Path(module.__file__).parent / "versions"


def newest_versions() -> dict[str, str]:
    """Return the newest version of each installed package's schema."""
    heads: dict[str, str] = {}
    for schema, versions in _packages():
        script = ScriptDirectory(str(Path(__file__).parent), version_locations=[str(versions)])
        heads[schema] = script.get_current_head() or ""
    return heads


def migrate(url: str, *, patience: float) -> None:
    """Bring every installed package's schema to its newest version; nothing is done where it is there already.

    A database that is still starting is waited for, `patience` seconds at most. Raises UnavailableError
    `database_unreachable`, `database_refused` or `migrations_refused`.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    asyncio.run(_migrate(url, patience))


async def _migrate(url: str, patience: float) -> None:
    await wait_for_database(url, patience=patience)
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            for schema, versions in _packages():
                await connection.run_sync(_upgrade, schema, versions)
    except DBAPIError as err:
        raise unavailable(
            "migrations_refused",
            f"PostgreSQL refuses the migrations: {err.orig}",
            where="WEFT_DATABASE_URL",
            fix="use a user that may create schemas and tables",
        ) from err
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, schema: str, versions: Path) -> None:
    connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("version_locations", str(versions))
    config.set_main_option("path_separator", "os")
    config.attributes.update(connection=connection, schema=schema)
    command.upgrade(config, "head")
    log.info("migrated", schema=schema)
