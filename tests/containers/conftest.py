import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from tests.containers.compose_project import ComposeProject, running_project


@pytest.fixture(scope="session")
def project(docker: None) -> Iterator[ComposeProject]:
    """docker-compose.yml, built and running."""
    with running_project() as project:
        yield project


@pytest.fixture(scope="session")
def docker() -> None:
    """Skip where no Docker engine answers; fail instead where one is promised."""
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0:
        return
    reason = "no Docker engine answers (`docker info` fails)"
    if os.environ.get("WEFT_REQUIRE_DOCKER") == "1":
        pytest.fail(f"{reason}, though WEFT_REQUIRE_DOCKER=1 says that there is one")
    pytest.skip(reason)
