"""The broker and the database of the fault tests: real servers that are killed and started again where they were."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from shared.embedded.processes import KILL_SECONDS, Server, accepts_connections
from shared.embedded.rabbitmq_node import answers
from shared.embedded.stack import EmbeddedStack
from shared.settings import Settings
from shared.setup import set_up

START_SECONDS = 60.0
CONTROL_SECONDS = 60.0
POSTGRES, RABBITMQ = "postgres", "rabbitmq"


class Servers:
    """A PostgreSQL and a RabbitMQ of our own, at addresses that stay; all calls block."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._stack = EmbeddedStack(home)
        self._starts: dict[str, Callable[[], Server]] = {}
        self._running: dict[str, Server] = {}

    def start(self) -> Settings:
        """Start and prepare both, and return the settings for services."""
        with self._noting_how_they_are_started():
            urls = self._stack.start()
        self.settings = Settings(home=self._home, **urls.model_dump())
        set_up(self.settings)
        return self.settings

    def stop(self) -> None:
        for name in (RABBITMQ, POSTGRES):
            if name in self._running:
                self._running[name].stop()
        self._stack.stop()

    def restart_postgres(self) -> None:
        """Stop PostgreSQL as `pg_ctl -m immediate` does, and start it again: it recovers from its log."""
        postgres = self._running[POSTGRES]
        postgres.process.send_signal(signal.SIGQUIT)
        postgres.process.wait(KILL_SECONDS)
        self._start(POSTGRES, self._port(self.settings.require("database_url")))

    def kill_broker(self) -> None:
        """End the broker as a crash would; its port mapper stays."""
        broker = self._running[RABBITMQ].process
        os.killpg(broker.pid, signal.SIGKILL)
        broker.wait(KILL_SECONDS)

    def hold_broker(self) -> None:
        """Stop the broker in the middle of whatever it does, until `let_broker_go_on`: it says nothing any more."""
        os.killpg(self._running[RABBITMQ].process.pid, signal.SIGSTOP)

    def let_broker_go_on(self) -> None:
        """Let a held broker go on."""
        os.killpg(self._running[RABBITMQ].process.pid, signal.SIGCONT)

    def start_broker(self) -> None:
        """Start a broker that was killed on its own data; return when it answers."""
        self._start(RABBITMQ, self._port(self.settings.require("amqp_url")))
        self.wait_for_broker()

    def wait_for_broker(self) -> None:
        """Return when the broker answers."""
        url = self.settings.require("amqp_url")
        ready = partial(answers, url)
        self._running[RABBITMQ].wait_until(ready, timeout=START_SECONDS, cancelled=threading.Event())

    def control_broker(self, *command: str) -> str:
        """Run `rabbitmqctl` on the broker, and return what it prints."""
        how = self._starts[RABBITMQ]
        assert isinstance(how, partial)
        server = Path(how.args[1][0])
        control = [server.with_name("rabbitmqctl"), "--quiet", "-n", how.keywords["env"]["RABBITMQ_NODENAME"]]
        done = subprocess.run(
            [*control, *command],
            env=how.keywords["env"],
            cwd=self._home,
            capture_output=True,
            text=True,
            timeout=CONTROL_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _start(self, name: str, port: int) -> None:
        server = self._running[name] = self._starts[name]()
        server.wait_until(lambda: accepts_connections(port), timeout=START_SECONDS, cancelled=threading.Event())

    @contextmanager
    def _noting_how_they_are_started(self) -> Generator[None]:
        spawn = Server.spawn

        def noted(name: str, *command: Any, **how: Any) -> Server:
            self._starts[name] = partial(spawn, name, *command, **how)
            self._running[name] = self._starts[name]()
            return self._running[name]

        with patch.object(Server, "spawn", noted):
            yield

    @staticmethod
    def _port(url: str) -> int:
        return int(url.rpartition(":")[2].partition("/")[0])
