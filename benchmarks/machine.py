"""Where the figures are from: the machine and the versions."""

import os
import platform
from collections.abc import Mapping
from typing import Any

import aiormq
import psutil
import redis
import uvloop

from benchmarks.measures import PATIENCE
from shared.database import connect_database
from shared.settings import Settings


def describe_machine() -> str:
    """Return cores, memory and how busy the machine was before."""
    gigabytes = psutil.virtual_memory().total / 2**30
    return f"{_cores()} cores, {gigabytes:.0f} GiB, {platform.system()}; load average before: {os.getloadavg()[0]:.1f}"


def server_versions(settings: Settings, redis_url: str) -> Mapping[str, str]:
    """Return the versions of Python and of the servers, which are asked."""
    return {
        "Python": platform.python_version(),
        "RabbitMQ": uvloop.run(_rabbitmq(settings.require("amqp_url"))),
        "PostgreSQL": uvloop.run(_postgres(settings.require("database_url"))),
        "Redis": _redis(redis_url),
    }


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count() or 1


async def _rabbitmq(url: str) -> str:
    connection = await aiormq.connect(url)
    try:
        return str(connection.server_properties.get("version"))
    finally:
        await connection.close()


async def _postgres(url: str) -> str:
    async with (
        connect_database(url, name="benchmark", patience=PATIENCE, schema="public") as database,
        database.transaction() as connection,
    ):
        return str(await connection.fetchval("SHOW server_version"))


def _redis(url: str) -> str:
    client: Any = redis.Redis.from_url(url)  # pyright: ignore[reportUnknownMemberType] - redis is typed in part
    try:
        return str(client.info("server")["redis_version"])
    finally:
        client.close()
