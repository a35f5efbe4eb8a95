"""The one command that prepares database and broker: migrations of all installed services, then the topology."""

import asyncio

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity
from structlog import get_logger

from shared import topology
from shared.contracts.errors import UnavailableError
from shared.logs import configure_logs
from shared.messaging.connection import connect
from shared.migrations import migrate
from shared.redaction import known_secrets
from shared.service import errors_in_one_line
from shared.settings import Settings

RETRY_SECONDS = 0.2

log = get_logger(__name__)


async def declare_topology(settings: Settings) -> None:
    """Declare everything on the broker; raise UnavailableError if it cannot be reached."""
    url = settings.require("amqp_url")
    async with connect(url, name="setup", patience=settings.startup_timeout) as connection:
        await _declare(connection, settings.startup_timeout)
    log.info("declared the topology", queues=len(topology.QUEUES))


async def _declare(connection: AbstractConnection, patience: float) -> None:
    """Declare everything; of a broker that has just started, what is not up yet is waited for, `patience` seconds.

    It answers before its streams do: "home node is down or inaccessible".
    """
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        try:
            return await topology.declare(await connection.channel())
        except UnavailableError as err:
            if not isinstance(err.__cause__, ChannelNotFoundEntity) or asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(RETRY_SECONDS)


def set_up(settings: Settings) -> None:
    """Migrate the database and declare the topology; both do only what is missing."""
    migrate(settings.require("database_url"), patience=settings.startup_timeout)
    asyncio.run(declare_topology(settings))


def main() -> None:
    """Run the set-up as a process of its own."""
    with errors_in_one_line("setup"):
        settings = Settings.load()
        configure_logs(
            "setup", log_format=settings.log_format, level=settings.log_level, secrets=known_secrets(settings)
        )
        set_up(settings)


if __name__ == "__main__":
    main()
