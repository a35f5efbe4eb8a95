"""RabbitMQ in a container, for machines that have a Docker engine but no RabbitMQ.

The container is named after its folder and thrown away at each stop; the data are in a volume of the same name.
"""

import hashlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from shared.contracts.errors import UnavailableError
from shared.embedded.processes import POLL_SECONDS, start_failed
from shared.embedded.rabbitmq_node import ERLANG_ARGS, START_SECONDS, USER, answers
from shared.embedded.secrets_file import read_or_create
from shared.embedded.state import StackFile

IMAGE = "rabbitmq:4-management"
_ENGINE_SECONDS = 60.0
_PULL_SECONDS = 900.0


class RabbitMQContainer:
    """One RabbitMQ container for one folder; the data stay from one start to the next."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = folder / "rabbitmq.log"
        self.more_urls: dict[str, str] = {}
        self.container = f"weft-rabbitmq-{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:12]}"

    def start(self, file: StackFile, cancelled: threading.Event) -> str:
        """Start the container and return its address, once it has answered an AMQP client.

        Raises UnavailableError `rabbitmq_start_failed`, with the cause and the log file.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        password = read_or_create(self.folder / "password")
        file.add_container(self.container)
        remove_container(self.container)
        self._run(password)
        url = f"amqp://{USER}:{password}@127.0.0.1:{self._port(5672)}/"
        self.more_urls["management_url"] = f"http://127.0.0.1:{self._port(15672)}"
        self._wait_until_it_answers(url, cancelled)
        return url

    def stop(self) -> None:
        """Stop the broker in order, and remove its container; the volume stays."""
        remove_container(self.container)

    def _run(self, password: str) -> None:
        command = ["run", "--detach", "--name", self.container, "--hostname", "weft", "--publish", "127.0.0.1::5672"]
        command += ["--publish", "127.0.0.1::15672"]
        command += ["--volume", f"{self.container}:/var/lib/rabbitmq"]
        command += ["--env", f"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS={ERLANG_ARGS}"]
        command += ["--env", "RABBITMQ_DEFAULT_USER", "--env", "RABBITMQ_DEFAULT_PASS", IMAGE]
        secrets = {"RABBITMQ_DEFAULT_USER": USER, "RABBITMQ_DEFAULT_PASS": password}
        done = _docker(*command, env=secrets, timeout=_PULL_SECONDS)
        if done.returncode != 0:
            self._log.write_text(done.stderr)
            raise start_failed("rabbitmq", "docker could not run the container", self._log)

    def _port(self, inside: int) -> int:
        lines = _docker("port", self.container, f"{inside}/tcp").stdout.split()
        if not lines:
            raise self._failed("the container ended at once")
        return int(lines[0].rpartition(":")[2])

    def _wait_until_it_answers(self, url: str, cancelled: threading.Event) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not answers(url):
            if not self._is_running():
                raise self._failed("the container ended")
            if time.monotonic() > deadline:
                raise self._failed(f"rabbitmq was not ready after {START_SECONDS:.0f} s")
            if cancelled.wait(POLL_SECONDS):
                raise self._failed("the start of rabbitmq was given up")

    def _is_running(self) -> bool:
        return _docker("inspect", "--format", "{{.State.Running}}", self.container).stdout.strip() == "true"

    def _failed(self, message: str) -> UnavailableError:
        """Return the error, after bringing what the container said into the log file."""
        said = _docker("logs", "--tail", "200", self.container)
        self._log.write_text(said.stdout + said.stderr)
        return start_failed("rabbitmq", message, self._log)


def docker_answers() -> bool:
    """Tell whether there is a Docker engine that does what we ask."""
    if shutil.which("docker") is None:
        return False
    try:
        return _docker("version", "--format", "{{.Server.Version}}", timeout=_ENGINE_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def remove_container(name: str) -> None:
    """Stop the container in order, if it runs, and remove it, if it is there."""
    if _docker("container", "inspect", name).returncode != 0:
        return
    _docker("stop", "-t", "20", name)
    done = _docker("rm", "--force", name)
    if done.returncode != 0:
        raise RuntimeError(f"docker could not remove the container {name}: {done.stderr.strip()}")


def _docker(
    *arguments: str, env: Mapping[str, str] | None = None, timeout: float = _ENGINE_SECONDS
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 -- the command is ours
        ["docker", *arguments],  # noqa: S607 -- the docker that the user's PATH names
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
