"""docker-compose.yml as a project of its own, beside whatever else runs on the machine."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any
from uuid import uuid4

ROOT = Path(__file__).parents[2]
SERVICES = ("orchestrator", "run_tracker", "crop_worker", "llm_worker", "offline-model", "gateway")
WORKFLOW = ROOT / "docs/examples/workflow.json"
PHOTO = ROOT / "docs/examples/photo.jpg"

SECRETS = {name: secrets.token_hex(32) for name in ("WEFT_API_KEY", "WEFT_URL_SECRETS")}

_COMMAND_SECONDS = 600


@dataclass(frozen=True, slots=True)
class ComposeProject:
    """A project that was built; `name` keeps its containers, volumes and images apart from all others."""

    name: str

    @property
    def gateway_url(self) -> str:
        """Where the gateway is published now; another port after each start."""
        return f"http://{self.compose('port', 'gateway', '8000').strip()}"

    def compose(self, *arguments: str) -> str:
        """Run a compose command and return what it prints; its errors are shown if it fails."""
        return _run(["docker", "compose", *arguments], self._environment())

    def shell(self, script: str, **variables: str) -> str:
        """Run a shell script whose compose commands mean this project, and return what it prints."""
        return _run(["bash", "-euo", "pipefail", "-c", script], {**self._environment(), **variables})

    def _environment(self) -> dict[str, str]:
        # The settings of whoever runs the tests, in the environment or in a file .env, must not reach the containers.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("WEFT_", "COMPOSE_"))}
        ours = {"COMPOSE_PROJECT_NAME": self.name, "COMPOSE_ENV_FILES": os.devnull}
        ports = dict.fromkeys(("WEFT_GATEWAY_PORT", "WEFT_PROMETHEUS_PORT"), "0")
        return {**environment, **SECRETS, **ours, **ports}

    def start(self, *options: str) -> None:
        """Return when all services are healthy; on failure, tell what the containers logged."""
        try:
            self.compose("up", "--wait", "--wait-timeout", "180", *options)
        except CalledProcessError as err:
            err.add_note(self.compose("ps", "--all") + self.compose("logs", "--no-color", "--tail", "30"))
            raise

    def containers(self) -> list[dict[str, Any]]:
        """Return what Docker knows of each container, the stopped ones included."""
        return [json.loads(line) for line in self.compose("ps", "--all", "--format", "json").splitlines()]

    def python(self, service: str, code: str) -> str:
        """Run Python code in a service's container, and return what it prints."""
        return self.compose("exec", "-T", service, "python", "-c", code).strip()

    def weft(self, *arguments: str) -> Any:
        """Run the weft command against this project's gateway, and return the JSON that it prints."""
        command = [str(Path(sys.executable).with_name("weft")), *arguments, "-o", "json"]
        return json.loads(_run(command, {**os.environ, **SECRETS, "WEFT_GATEWAY_URL": self.gateway_url}))

    def execute_example(self) -> Any:
        """Run the example workflow on the example photo to its end, and return the run."""
        return self.weft("run", "execute", str(WORKFLOW), "--image", f"photo={PHOTO}")


@contextmanager
def running_project() -> Generator[ComposeProject]:
    """Yield a project, built and started; remove everything of it afterwards."""
    project = ComposeProject(f"weft-test-{uuid4().hex[:8]}")
    try:
        project.compose("build")
        project.start()
        yield project
    finally:
        project.compose("down", "--volumes", "--rmi", "local", "--timeout", "10")


def _run(command: list[str], environment: dict[str, str]) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=True,
        )
    except CalledProcessError as err:
        err.add_note(f"{err.stdout}\n{err.stderr}")
        raise
    return done.stdout
