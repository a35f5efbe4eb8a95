"""What all tests share: which broker and database they run on.

The default is an embedded stack of the tests' own. `--containers` runs the same tests on the images that
docker-compose.yml names, and adds the tests of docker-compose.yml itself.
"""

import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from shared.embedded.stack import EmbeddedStack
from shared.settings import Settings
from shared.setup import set_up

API_KEY = SecretStr(f"weft_{secrets.token_urlsafe(32)}")  # of the administrator of all gateways of the session
URL_SECRETS = SecretStr(secrets.token_urlsafe(32))
POSTGRES_IMAGE = "postgres:17"
END_TO_END = Path(__file__).parent / "e2e"
RABBITMQ_IMAGE = "rabbitmq:4-management"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--containers", action="store_true", help="run on containers instead of the embedded stack")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Last, because the services that they share take every message from the queues.
    items.sort(key=lambda item: END_TO_END in item.path.parents)
    if config.getoption("--containers"):
        return
    deselected = [item for item in items if item.get_closest_marker("containers")]
    config.hook.pytest_deselected(items=deselected)
    items[:] = [item for item in items if item not in deselected]


@pytest.fixture(scope="session")
def servers_home() -> Iterator[Path]:
    """A folder for servers that belongs to this session alone.

    Not one of pytest's: theirs have a parent in common, whose permissions every new session takes back, and through
    which PostgreSQL must pass, since root runs it as another user.
    """
    with tempfile.TemporaryDirectory(prefix="weft-tests-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, servers_home: Path) -> Iterator[Settings]:
    """Return the settings of a running, prepared PostgreSQL and RabbitMQ; one for the whole session."""
    home = servers_home / "stack"
    home.mkdir()
    running = _containers(home) if request.config.getoption("--containers") else _embedded(home)
    for settings in running:
        set_up(settings)
        yield settings


def _embedded(home: Path) -> Iterator[Settings]:
    with EmbeddedStack(home) as urls:
        yield Settings(home=home, **urls.model_dump(), api_key=API_KEY, url_secrets=URL_SECRETS)


def _containers(home: Path) -> Iterator[Settings]:
    postgres = DockerContainer(POSTGRES_IMAGE).with_env("POSTGRES_PASSWORD", "test").with_exposed_ports(5432)
    rabbitmq = DockerContainer(RABBITMQ_IMAGE).with_env("RABBITMQ_DEFAULT_USER", "test")
    rabbitmq = rabbitmq.with_env("RABBITMQ_DEFAULT_PASS", "test").with_exposed_ports(5672, 15672)
    assets = home / "assets"
    assets.mkdir()
    testcontainers_config.ryuk_disabled = True  # its image may not be there, and both are stopped here
    with postgres, rabbitmq:
        yield Settings(
            home=home,
            amqp_url=f"amqp://test:test@{_address(rabbitmq, 5672)}/",
            management_url=f"http://{_address(rabbitmq, 15672)}",
            database_url=f"postgresql://postgres:test@{_address(postgres, 5432)}/postgres",
            assets_url=assets.as_uri(),
            api_key=API_KEY,
            url_secrets=URL_SECRETS,
            startup_timeout=60,
        )


def _address(container: DockerContainer, port: int) -> str:
    return f"{container.get_container_host_ip()}:{container.get_exposed_port(port)}"
