"""Where RabbitMQ comes from: what is installed, what can be installed, a container, or a plain refusal."""

from pathlib import Path

import pytest
from aiormq.exceptions import ProbableAuthenticationError

from shared.contracts.errors import UnavailableError
from shared.embedded import rabbitmq, rabbitmq_install, rabbitmq_node
from shared.embedded.rabbitmq_container import RabbitMQContainer
from shared.embedded.rabbitmq_install import RabbitMQ
from shared.embedded.rabbitmq_node import RabbitMQNode


def put_program(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RabbitMQ:
    folder = tmp_path / "bin"
    found = RabbitMQ(put_program(folder, "rabbitmq-server"), put_program(folder, "epmd"))
    monkeypatch.setenv("PATH", str(folder))
    return found


def test_the_server_on_the_path_is_found(installed: RabbitMQ):
    assert rabbitmq_install.find() == installed


def test_the_script_itself_is_taken_instead_of_the_wrapper(
    installed: RabbitMQ, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    script = put_program(tmp_path / "lib", "rabbitmq-server")
    monkeypatch.setattr(rabbitmq_install, "_WRAPPERS", (installed.server.parent,))
    monkeypatch.setattr(rabbitmq_install, "_PACKAGED", script)
    found = rabbitmq_install.find()
    assert found is not None
    assert found.server == script


@pytest.mark.parametrize("existed", [True, False])
def test_services_are_kept_from_starting_only_while_installing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existed: bool
):
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(rabbitmq_install, "_POLICY", policy)
    if existed:
        policy.write_text("the machine's own")
    with rabbitmq_install._services_not_started():  # pyright: ignore[reportPrivateUsage]
        assert policy.read_text() == ("the machine's own" if existed else "#!/bin/sh\nexit 101\n")
    assert policy.exists() is existed


def test_what_cannot_be_installed_falls_back_on_docker_or_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rabbitmq, "find_or_install", lambda: None)
    monkeypatch.setattr(rabbitmq, "docker_answers", lambda: True)
    assert isinstance(rabbitmq.rabbitmq_in(tmp_path), RabbitMQContainer)
    monkeypatch.setattr(rabbitmq, "docker_answers", lambda: False)
    with pytest.raises(UnavailableError, match=r"rabbitmq_not_found.*rabbitmq-server.*Docker.*WEFT_AMQP_URL"):
        rabbitmq.rabbitmq_in(tmp_path)


def test_what_is_installed_is_used(installed: RabbitMQ, tmp_path: Path):
    assert isinstance(rabbitmq.rabbitmq_in(tmp_path), RabbitMQNode)


def test_a_refused_password_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    async def read_version(url: str) -> str:
        raise ProbableAuthenticationError("ACCESS_REFUSED")

    monkeypatch.setattr(rabbitmq_node, "_read_version", read_version)
    with pytest.raises(UnavailableError, match="rabbitmq_password_refused"):
        rabbitmq_node.answers("amqp://broker/")


@pytest.mark.parametrize(("version", "fits"), [("3.9.27", False), ("3.10.8", True), ("4.1.0", True)])
def test_a_version_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch, version: str, fits: bool):
    async def read_version(url: str) -> str:
        return version

    monkeypatch.setattr(rabbitmq_node, "_read_version", read_version)
    if fits:
        assert rabbitmq_node.answers("amqp://broker/")
    else:
        with pytest.raises(UnavailableError, match=f"rabbitmq_too_old.*{version}"):
            rabbitmq_node.answers("amqp://broker/")
