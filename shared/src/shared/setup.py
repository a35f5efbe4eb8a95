"""The one command that prepares database and broker: migrations of all installed services, then the topology."""

import asyncio

from structlog import get_logger

from shared import topology
from shared.logs import configure_logs
from shared.messaging.connection import connect
from shared.migrations import migrate
from shared.service import errors_in_one_line
from shared.settings import Settings

log = get_logger(__name__)


async def declare_topology(settings: Settings) -> None:
    """Declare everything on the broker; raise UnavailableError if it cannot be reached."""
    url = settings.require("amqp_url")
    async with connect(url, name="setup", patience=settings.startup_timeout) as connection:
        await topology.declare(await connection.channel())
    log.info("declared the topology", queues=len(topology.QUEUES))


def set_up(settings: Settings) -> None:
    """Migrate the database and declare the topology; both do only what is missing."""
    migrate(settings.require("database_url"), patience=settings.startup_timeout)
    asyncio.run(declare_topology(settings))


def main() -> None:
    """Run the set-up as a process of its own."""
    with errors_in_one_line("setup"):
        settings = Settings.load()
        configure_logs("setup", log_format=settings.log_format, level=settings.log_level)
        set_up(settings)


if __name__ == "__main__":
    main()
