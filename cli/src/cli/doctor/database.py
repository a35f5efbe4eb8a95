"""The database: whether it answers, its version, migrations, roles and clock."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cli.doctor.broker import skip_or_fail
from cli.doctor.clocks import compare_clocks
from cli.doctor.findings import Finding, Findings
from shared.contracts.errors import WeftError
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.database import Connection

OLDEST = 14
PATIENCE_SECONDS = 1.0
_VERSION = "SELECT current_setting('server_version'), current_setting('server_version_num')::integer / 10000"
_ROLE_PREFIX = "weft_"
_ROLES = "SELECT rolname::text, pg_has_role(session_user, oid, 'MEMBER') FROM pg_roles WHERE rolname LIKE $1"


async def check_database(settings: Settings) -> Sequence[Finding]:
    """Look at PostgreSQL. Its libraries belong to the extra `local`, which those who only use a gateway do not need."""
    findings = Findings("database")
    if settings.database_url is None:
        skip_or_fail(settings, "database", "WEFT_DATABASE_URL", findings)
        return findings.made
    try:
        await _look_at(settings.database_url, findings)
    except ImportError:
        findings.skip("the database's libraries are not installed", "install weft-cli[local]")
    except WeftError as err:
        findings.fail_with(err.problems)
    return findings.made


async def _look_at(url: str, findings: Findings) -> None:
    from shared.database import connect_database  # noqa: PLC0415 -- may not be installed

    async with (
        connect_database(url, name="doctor", patience=PATIENCE_SECONDS, schema="pg_catalog", connections=1) as database,
        database.session() as connection,
    ):
        await _look_at_version(connection, findings)
        await _look_at_migrations(connection, findings)
        await _look_at_roles(connection, findings)
        compare_clocks("the database", await connection.fetchval("SELECT clock_timestamp()"), findings)


async def _look_at_version(connection: "Connection", findings: Findings) -> None:
    row = await connection.fetchrow(_VERSION)
    assert row
    version, major = row
    if major < OLDEST:
        findings.fail(f"PostgreSQL {version} is too old", f"use {OLDEST} or newer")
    else:
        findings.ok(f"PostgreSQL {version} answers")


async def _look_at_migrations(connection: "Connection", findings: Findings) -> None:
    from shared.migrations import newest_versions  # noqa: PLC0415 -- may not be installed

    is_complete = True
    for schema, newest in newest_versions().items():
        found = await _version_of(connection, schema)
        if found != newest:
            is_complete = False
            findings.fail(f"the schema {schema} has {found or 'no version'}, not {newest}", "weft setup")
    if is_complete:
        findings.ok(f"all schemas are at their newest version: {', '.join(newest_versions())}")


async def _version_of(connection: "Connection", schema: str) -> str | None:
    table = f'"{schema}".schema_version'
    if not await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", table):
        return None
    return await connection.fetchval(f"SELECT version_num FROM {table}")  # noqa: S608 -- an entry point's name


async def _look_at_roles(connection: "Connection", findings: Findings) -> None:
    roles = await connection.fetch(_ROLES, f"{_ROLE_PREFIX}%")
    for name, is_member in roles:
        if is_member:
            findings.ok(f"the role {name} can be taken")
        else:
            fix = f"as an administrator: GRANT {name} TO the user of WEFT_DATABASE_URL"
            findings.warn(f"this user is no member of the role {name}; its service has all rights of the user", fix)
    if not roles:
        fix = "run weft setup as a user who may make roles"
        findings.warn("there are no roles of services: each has all rights of the user", fix)
