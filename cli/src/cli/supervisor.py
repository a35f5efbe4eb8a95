"""Runs everything locally: what is not configured of the stack, the model stand-in if needed, all services."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path

from pydantic import SecretStr

from cli.local_secrets import with_local_secrets
from cli.service_process import HOST, ServiceProcess
from cli.services_file import ServiceRecord, ServicesFile
from cli.watcher import Watcher
from shared.contracts.errors import UnavailableError, unavailable
from shared.embedded.processes import free_port, lost_port
from shared.embedded.stack import EmbeddedStack
from shared.embedded.state import StackLock
from shared.settings import Settings

GATEWAY = "gateway"
MODEL = "offline_model"
SERVICES = ("orchestrator", "run_tracker", "crop_worker", "llm_worker", GATEWAY)
# What takes work in stops first, what others need last.
_STOP_ORDER = ((GATEWAY,), ("crop_worker", "llm_worker"), ("orchestrator",), ("run_tracker",), (MODEL,))
_SET_UP_PATIENCE_SECONDS = 5.0  # a person waits, and what is configured is expected to be up
_EXTRA_GRACE_SECONDS = 5.0  # a service that keeps its own limit is never killed


class Supervisor:
    """The local stack and the services of one folder, as child processes of this one.

    `settings` say what is configured (without the addresses of what runs already): only the rest of the stack is
    started. With `restart`, a service that ends by itself is started again, later each time. `gateway_port` 0 takes
    a free port. `tell` is given lines for people, from any thread.
    """

    def __init__(
        self,
        home: Path,
        settings: Settings,
        *,
        restart: bool = True,
        gateway_port: int = 0,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._home = home.resolve()
        self._settings = settings.model_copy(update={"home": self._home})
        self._restart, self._gateway_port, self._tell = restart, gateway_port, tell
        self._file = ServicesFile(self._home)
        self._services: dict[str, ServiceProcess] = {}
        self._guard = threading.RLock()
        self._resources = ExitStack()

    @property
    def settings(self) -> Settings:
        """The settings that the services were given: once started, with all addresses."""
        return self._settings

    def start(self) -> None:
        """Start everything; return when every service is ready.

        Raises UnavailableError: `port_taken`, `home_unusable`, `stack_already_running` (naming the process), and what
        stack, set-up and services raise. Nothing is left running then, nor after a KeyboardInterrupt.
        """
        try:
            self._start(self._resources)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the services in order, then the stack; returns when no process of theirs is left."""
        self._resources.close()

    def kill(self, name: str) -> None:
        """End a service as a crash would (SIGKILL); returns when it is gone."""
        self._services[name].kill()

    def wait_stopped(self, name: str) -> int:
        """Return the exit code of a service that was asked to stop, once it has."""
        return self._services[name].wait_stopped()

    def start_service(self, name: str) -> None:
        """Start a service unless it runs, at the address it had; returns when it is ready."""
        with self._guard:
            service = self._services[name]
            if service.exit_code is not None:
                self._run(service)
        service.wait_ready()

    def service_url(self, name: str) -> str:
        """Return where a service answers HTTP."""
        return self._services[name].url

    def pid(self, name: str) -> int:
        """Return the id of a service's latest process."""
        pid = self._services[name].pid
        assert pid is not None
        return pid

    @property
    def llm_base_url(self) -> str:
        """The address of the model: the configured one, else the stand-in's."""
        return self._settings.llm_base_url or f"{self._services[MODEL].url}/v1"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of what was started: the services, and the model stand-in if there is one."""
        return tuple(self._services)

    def _start(self, resources: ExitStack) -> None:
        self._claim_folder(resources)
        self._settings = with_local_secrets(self._settings)
        self._stop_leftovers()
        _check_port(self._gateway_port)
        stack = self._new_stack()
        resources.callback(self._file.remove)
        resources.callback(stack.stop)
        resources.callback(self._stop_services)
        self._start_in_order(stack)
        if self._restart:
            self._watch(resources)

    def _claim_folder(self, resources: ExitStack) -> None:
        # A lock of our own: the stack takes its lock when it starts, and processes are started before that.
        own = self._home / "services"
        try:
            for folder in (own, self._home / "logs"):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise unavailable(
                "home_unusable",
                f"the folder cannot be made: {err.strerror}",
                where=str(self._home),
                fix="run weft where you may write, or set WEFT_HOME",
            ) from err
        resources.enter_context(StackLock(own))

    def _stop_leftovers(self) -> None:
        """Stop what a supervisor that was killed has left running."""
        record = self._file.read()
        left = [service for service in record.services.values() if service.find()] if record else []
        if left:
            self._tell(f"stopping what an earlier start left running: {', '.join(service.name for service in left)}")
            with ThreadPoolExecutor(max_workers=len(left)) as threads:
                list(threads.map(ServiceRecord.stop, left))
        self._file.remove()

    def _new_stack(self) -> EmbeddedStack:
        configured = self._settings
        return EmbeddedStack(self._home, postgres=configured.database_url is None, rabbitmq=configured.amqp_url is None)

    def _start_in_order(self, stack: EmbeddedStack) -> None:
        started = time.monotonic()
        self._make_services()
        self._tell(f"starting {', '.join(self._what_starts())} ...")
        # Threads, because an interrupt reaches the main thread only: none gets lost between its start and its record.
        with ThreadPoolExecutor(max_workers=len(self._services)) as threads:
            list(threads.map(ServiceProcess.spawn, self._services.values()))
        self._start_stack(stack)
        self._tell(f"database and broker are up and set up after {time.monotonic() - started:.1f} s")
        if MODEL in self._services:
            self._bring_up(self._services[MODEL])
        for service in self._services.values():
            service.release(self._environment())
        for service in self._services.values():
            self._bring_up(service)
        self._publish()
        self._tell(f"all services are ready after {time.monotonic() - started:.1f} s")

    def _what_starts(self) -> Iterator[str]:
        if self._settings.database_url is None:
            yield "PostgreSQL"
        if self._settings.amqp_url is None:
            yield "RabbitMQ"
        yield from self._services

    def _make_services(self) -> None:
        self._services = {name: self._new_service(name, _launched(name)) for name in SERVICES}
        if self._settings.llm_base_url is None:
            self._services[MODEL] = self._new_service(MODEL, _offline_model)

    def _new_service(self, name: str, command: Callable[[int], Sequence[str]]) -> ServiceProcess:
        chosen = self._gateway_port if name == GATEWAY else 0
        return ServiceProcess(
            name,
            command,
            port=chosen or free_port(),
            log=self._home / "logs" / f"{name}.log",
            record=self._file.add,
            grace=self._settings.shutdown_timeout + _EXTRA_GRACE_SECONDS,
        )

    def _start_stack(self, stack: EmbeddedStack) -> None:
        # The set-up's libraries take two seconds to import; they are wanted when the stack has booted.
        loader = ThreadPoolExecutor(max_workers=1)
        loading = loader.submit(import_module, "shared.setup")
        loader.shutdown(wait=False)
        urls = stack.start()
        addresses = {name: url for name, url in urls.model_dump().items() if getattr(self._settings, name) is None}
        self._settings = self._settings.model_copy(update=addresses)
        patience = min(self._settings.startup_timeout, _SET_UP_PATIENCE_SECONDS)
        loading.result().set_up(self._settings.model_copy(update={"startup_timeout": patience}))

    def _run(self, service: ServiceProcess) -> None:
        service.spawn()
        service.release(self._environment())

    def _bring_up(self, service: ServiceProcess) -> None:
        """Wait until the service is ready; once more, if another process took its port before it did."""
        try:
            service.wait_ready()
        except UnavailableError:
            if not lost_port(service.log) or service.port == self._gateway_port:
                raise
            service.stop()
            service.port = free_port()
            self._run(service)
            service.wait_ready()

    def _environment(self) -> dict[str, str]:
        """Return the settings as the environment variables that they are read from."""
        values = {name: getattr(self._settings, name) for name in Settings.model_fields}
        values["llm_base_url"] = self.llm_base_url
        return {f"WEFT_{name.upper()}": _text(value) for name, value in values.items() if value is not None}

    def _publish(self) -> None:
        addresses = {"gateway_url": self.service_url(GATEWAY), "llm_base_url": self.llm_base_url}
        self._settings = self._settings.model_copy(update=addresses)
        self._file.publish(**addresses)

    def _watch(self, resources: ExitStack) -> None:
        watcher = Watcher(self._services.values(), self._run, self._guard, self._tell)
        watcher.start()
        resources.callback(watcher.stop)

    def _stop_services(self) -> None:
        self._tell("stopping what was started ...")
        for names in _STOP_ORDER:
            with ThreadPoolExecutor(max_workers=len(names)) as threads:
                services = [self._services[name] for name in names if name in self._services]
                list(threads.map(_stop_for_good, services))


def _stop_for_good(service: ServiceProcess) -> None:
    service.stop(for_good=True)


def _launched(name: str) -> Callable[[int], Sequence[str]]:
    return lambda _: ("cli.launch", f"{name}.main")


def _offline_model(port: int) -> Sequence[str]:
    return ("llm_worker.offline_model", "--host", HOST, "--port", str(port))


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def _check_port(port: int) -> None:
    try:
        socket.create_server((HOST, port)).close()
    except OSError as err:
        raise unavailable(
            "port_taken",
            f"cannot listen on {HOST}:{port}: {err.strerror}",
            where="--port",
            fix="stop what listens there, or choose another port; without --port a free one is taken",
        ) from err
