"""One running system for all end-to-end tests that do not start their own."""

from collections.abc import Iterator

import pytest
from tests.e2e.system import System

from cli.supervisor import Supervisor
from shared.settings import Settings


@pytest.fixture(scope="session")
def running_system(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """All services and the model stand-in, each a process; none is restarted by itself."""
    supervisor = Supervisor(tmp_path_factory.mktemp("system"), stack, restart=False)
    supervisor.start()
    system = System(supervisor)
    yield system
    system.close()
    supervisor.stop()


@pytest.fixture
def system(running_system: System) -> Iterator[System]:
    """The running system; whatever the test held or killed is set right afterwards."""
    yield running_system
    running_system.release_model_calls()
    for name in running_system.supervisor.names:
        running_system.supervisor.start_service(name)
