"""A stack of the fault tests' own, which they may destroy, and the services on it."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from tests.chaos.fleet import Fleet
from tests.chaos.servers import Servers
from tests.chaos.system import System, running_system

Measured = Callable[[str, str, str], None]


@pytest.fixture(scope="session")
def servers(servers_home: Path) -> Iterator[Servers]:
    """PostgreSQL and RabbitMQ, empty and prepared."""
    home = servers_home / "chaos"
    home.mkdir()
    servers = Servers(home)
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()


@pytest.fixture(scope="session")
def fleet(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """All services; none runs before a test asks for it."""
    folder: Path = tmp_path_factory.mktemp("services")
    fleet = Fleet(servers.settings, folder)
    yield fleet
    fleet.close()


@pytest.fixture
async def system(servers: Servers, fleet: Fleet) -> AsyncIterator[System]:
    async with running_system(servers, fleet) as system:
        await system.purge()
        yield system


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Measured:
    """Note a row of the table of results: the fault's number, what was done, what came of it."""

    def note(fault: str, done: str, result: str) -> None:
        record_property("measured", f"{fault} | {done} | {result}")

    return note
