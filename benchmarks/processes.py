"""The processes of a benchmark: started here, waited for, stopped by their ids at the end."""

import secrets
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx2

from shared.embedded.processes import RunningProcess, Server, clean_environment, free_port
from shared.settings import Settings

ROOT = Path(__file__).parents[1]
START_SECONDS = 60.0
PROCESS_NAME = "BENCH_PROCESS"  # the variable by which a process, and what it starts, is known
NO_MODEL = "http://127.0.0.1:9/v1"  # idle workers call no model; nothing listens there


def start(
    resources: ExitStack, name: str, command: Sequence[str | Path], *, log: Path, env: Mapping[str, str]
) -> Server:
    """Start a command; `resources` stops it. The variables of a Weft that is configured here do not reach it."""
    environment = {**clean_environment("WEFT_"), "PYTHONPATH": str(ROOT), PROCESS_NAME: name, **env}
    server = Server.spawn(name, command, log=log, record=_keep_no_record, env=environment)
    resources.callback(server.stop)
    return server


def start_services(
    resources: ExitStack,
    settings: Settings,
    modules: Mapping[str, Sequence[str]],
    *,
    folder: Path,
    model_url: str = NO_MODEL,
) -> dict[str, Server]:
    """Start services side by side (`modules`: by name, what `python -m` is given); return when all are ready.

    Raises UnavailableError `<name>_start_failed` with what its log says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ports = {name: free_port() for name in modules}
    servers = {
        name: start(
            resources,
            name,
            [sys.executable, "-m", *module],
            log=folder / f"{name}.log",
            env=_variables(settings, ports[name], model_url),
        )
        for name, module in modules.items()
    }
    for name, server in servers.items():
        wait_until_ready(server, f"http://127.0.0.1:{ports[name]}/ready")
    return servers


def wait_until_ready(server: Server, url: str) -> None:
    """Return when the address answers 200."""

    def is_ready() -> bool:
        try:
            return httpx2.get(url, trust_env=False).is_success
        except httpx2.TransportError:
            return False

    server.wait_until(is_ready, timeout=START_SECONDS, cancelled=threading.Event())


def _variables(settings: Settings, port: int, model_url: str) -> dict[str, str]:
    addresses = {f"WEFT_{name.upper()}": settings.require(name) for name in ("amqp_url", "database_url", "assets_url")}
    own = {"WEFT_HOME": str(settings.home), "WEFT_LLM_BASE_URL": model_url, "WEFT_HTTP_PORT": str(port)}
    own |= {name: secrets.token_urlsafe(32) for name in ("WEFT_API_KEY", "WEFT_URL_SECRETS")}
    return {**addresses, **own}


def _keep_no_record(_: RunningProcess) -> None:
    """Nobody looks for these processes later: their folder goes with the benchmark."""
