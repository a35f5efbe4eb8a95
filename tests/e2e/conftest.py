"""One running system for all end-to-end tests that do not start their own, and its command line."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.e2e.collector import Collector, collecting
from tests.e2e.system import System, finish

from cli.supervisor import Supervisor
from shared.settings import Settings


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """What all services export their spans to."""
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="session")
def running_system(stack: Settings, collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """All services and the model stand-in, each a process; none is restarted by itself."""
    traced = stack.model_copy(update={"otlp_url": collector.url})
    supervisor = Supervisor(tmp_path_factory.mktemp("system"), traced, restart=False)
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


@pytest.fixture
def start(system: System) -> Callable[..., "subprocess.Popen[str]"]:
    """Return a function that starts `weft` in the folder of the running system, its `stderr` a pipe or a file."""
    settings = system.supervisor.settings
    assert settings.api_key
    known = {
        "WEFT_HOME": str(settings.home),
        "WEFT_AMQP_URL": settings.amqp_url or "",
        "WEFT_API_KEY": settings.api_key.get_secret_value(),
    }
    env = {name: value for name, value in os.environ.items() if not name.startswith("WEFT_")} | known
    weft, pipe = Path(sys.executable).with_name("weft"), subprocess.PIPE

    def start(*arguments: str, stderr: int = pipe, **more: str) -> "subprocess.Popen[str]":
        return subprocess.Popen([weft, *arguments], stdout=pipe, stderr=stderr, text=True, env={**env, **more})

    return start


@pytest.fixture
def weft(start: Callable[..., "subprocess.Popen[str]"]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs `weft` and returns its exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        return finish(start(*arguments))

    return run
