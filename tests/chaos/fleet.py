"""The services under test, each a process: started, killed, held, and started again by whoever keeps them alive."""

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from yarl import URL

from cli.service_process import HOST, ServiceProcess
from cli.services_file import ServiceRecord
from shared.embedded.processes import free_port
from shared.settings import Settings

MODEL = "offline_model"
TRACKER = "run_tracker"
WORKER = "obedient_worker"
LLM_WORKER = "llm_worker"
GATEWAY = "gateway"
API_KEY = secrets.token_hex(32)  # of the gateway
ORCHESTRATORS = ("orchestrator", "orchestrator_2", "orchestrator_3")
CRASHING = "crashing_orchestrator"
GATEWAYS = (GATEWAY, "gateway_2")
_MODULES = {
    **dict.fromkeys(ORCHESTRATORS, "orchestrator.main"),
    TRACKER: "run_tracker.main",
    WORKER: "tests.chaos.obedient_worker",
    LLM_WORKER: "llm_worker.main",
    f"{LLM_WORKER}_2": "llm_worker.main",
    CRASHING: "tests.chaos.crashing_orchestrator",
    **dict.fromkeys(GATEWAYS, "gateway.main"),
}
KILLED = -signal.SIGKILL
GRACE_SECONDS = 20.0
KEEPER_SECONDS = 0.05


class Fleet:
    """Processes of services by name. They belong to one thread; only waiting for them is done in others."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._settings = settings
        self._services = {name: self._new(name, folder) for name in (*_MODULES, MODEL)}
        self._arguments: dict[str, Sequence[str]] = {}
        self._llm_concurrency = settings.llm_concurrency
        self._amqp_options: dict[str, int] = {}
        self.restarts: dict[str, list[int]] = {}

    async def run_only(self, *names: str, llm_concurrency: int | None = None, heartbeat: int | None = None) -> None:
        """Let exactly these services run; return when they are ready.

        The settings hold for those started after it; `heartbeat` is in seconds, of their connections to the broker.
        """
        await self.stop(*(name for name in self._services if name not in names))
        self._llm_concurrency = llm_concurrency or self._settings.llm_concurrency
        self._amqp_options = {"heartbeat": heartbeat} if heartbeat else {}
        if MODEL in names:
            await self.start(MODEL)
        await self.start(*names)

    async def start(self, *names: str) -> None:
        """Start those that do not run; return when all of them are ready."""
        for name in names:
            if not self.is_alive(name):
                self.spawn(name)
        await asyncio.gather(*(asyncio.to_thread(self._services[name].wait_ready) for name in names))

    def spawn(self, name: str, *arguments: str) -> None:
        """Start one without waiting for it."""
        self._arguments[name] = arguments or self._arguments.get(name, ())
        self._services[name].spawn()
        if name != MODEL:
            self._services[name].release(self._environment())

    async def stop(self, *names: str) -> None:
        """Stop those that run, in order; return when nothing of them is left."""
        running = [self._services[name] for name in names if self.is_alive(name)]
        await asyncio.gather(*(asyncio.to_thread(service.stop) for service in running))

    def close(self) -> None:
        """Stop all; for the end, when no event loop runs."""
        with ThreadPoolExecutor() as threads:
            list(threads.map(ServiceProcess.stop, self._services.values()))

    def kill(self, name: str) -> None:
        """End a process as a crash would; returns when it is gone."""
        self._services[name].kill()

    def hold(self, name: str) -> None:
        """Stop a process in the middle of whatever it does, until `go_on`."""
        self.signal(name, signal.SIGSTOP)

    def go_on(self, name: str) -> None:
        """Let a held process go on."""
        self.signal(name, signal.SIGCONT)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a process a signal."""
        os.kill(self.pid(name), number)

    def is_alive(self, name: str) -> bool:
        """Tell whether the process runs, or is held."""
        return self._services[name].pid is not None and self._services[name].exit_code is None

    def exit_code(self, name: str) -> int | None:
        """How the process ended; None while it runs."""
        return self._services[name].exit_code

    def pid(self, name: str) -> int:
        """The id of the latest process."""
        pid = self._services[name].pid
        assert pid is not None
        return pid

    def url(self, name: str) -> str:
        """Where the service answers HTTP."""
        return self._services[name].url

    def log(self, name: str) -> str:
        """What all processes of the service have written; nothing before the first start."""
        log = self._services[name].log
        return log.read_text(errors="replace") if log.exists() else ""

    @asynccontextmanager
    async def kept_alive(self, *names: str) -> AsyncGenerator[None]:
        """Start again at once whoever ends, as a container's restart policy does; on leaving, all are ready."""
        self.restarts = {name: [] for name in names}
        keeper = asyncio.create_task(self._keep_alive(names))
        try:
            yield
        finally:
            keeper.cancel()
        await self.start(*names)

    async def _keep_alive(self, names: Sequence[str]) -> None:
        while True:
            for name in names:
                if (code := self.exit_code(name)) is not None:
                    self.restarts[name].append(code)
                    self.spawn(name)
            await asyncio.sleep(KEEPER_SECONDS)

    def _new(self, name: str, folder: Path) -> ServiceProcess:
        return ServiceProcess(
            name,
            self._command(name),
            port=free_port(),
            log=folder / f"{name}.log",
            record=_keep_no_record,
            grace=GRACE_SECONDS,
        )

    def _command(self, name: str):
        if name == MODEL:
            return lambda port: ("llm_worker.offline_model", "--host", HOST, "--port", str(port))
        return lambda _: ("cli.launch", _MODULES[name], *self._arguments.get(name, ()))

    def _environment(self) -> dict[str, str]:
        addresses = {name: self._settings.require(name) for name in ("amqp_url", "database_url", "assets_url")}
        addresses["amqp_url"] = str(URL(addresses["amqp_url"]).with_query(self._amqp_options))
        addresses["llm_base_url"] = f"{self.url(MODEL)}/v1"
        own = {"WEFT_HOME": str(self._settings.home), "WEFT_LLM_CONCURRENCY": str(self._llm_concurrency)}
        own |= {"WEFT_API_KEY": API_KEY, "WEFT_URL_SECRETS": secrets.token_hex(32)}
        return {**own, **{f"WEFT_{name.upper()}": address for name, address in addresses.items()}}


def _keep_no_record(_: ServiceRecord) -> None:
    """Nobody looks for these processes later: whoever starts them stops them."""
