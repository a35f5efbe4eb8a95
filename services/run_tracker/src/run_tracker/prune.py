"""`python -m run_tracker.prune DAYS`: what `weft history prune` asks for, where that does not reach the broker."""

import argparse
import asyncio

from run_tracker.main import NAME
from run_tracker.partitions import Partitions
from shared.contracts.history import PruneHistory, PruneReply
from shared.database import connect_database
from shared.logs import configure_logs
from shared.redaction import known_secrets
from shared.service import errors_in_one_line
from shared.settings import Settings


async def _prune(settings: Settings, query: PruneHistory) -> PruneReply:
    url = settings.require("database_url")
    async with connect_database(url, name="prune", patience=settings.startup_timeout, schema=NAME) as database:
        return await Partitions(database).prune(query.older_than_days)


def main() -> None:
    """Drop old weeks; each that is dropped or kept is logged."""
    parser = argparse.ArgumentParser(prog="python -m run_tracker.prune", description=__doc__)
    parser.add_argument("days", type=int, choices=range(1, 36_501), metavar="DAYS", help="age of what is dropped")
    days: int = parser.parse_args().days
    with errors_in_one_line("prune"):
        settings = Settings.load()
        configure_logs(
            "prune", log_format=settings.log_format, level=settings.log_level, secrets=known_secrets(settings)
        )
        asyncio.run(_prune(settings, PruneHistory(older_than_days=days)))


if __name__ == "__main__":
    main()
