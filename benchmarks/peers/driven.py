"""A peer as a side: its workers, and the process of its client, which does what it is told."""

import secrets
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Client, Connection
from pathlib import Path

from benchmarks.measures import PATIENCE, Batch, RunsLostError
from benchmarks.peers.driving import BROKER_URL, DATABASE_URL, HOST, KEY, PORT, REDIS_URL, SERVER_PORT
from benchmarks.peers.environments import versions_in
from benchmarks.processes import START_SECONDS, start
from benchmarks.shapes import Shape
from benchmarks.sides import RunningSide, Servers
from shared.embedded.processes import Server, free_port

GRACE_SECONDS = 10.0  # a client gives up by itself; this is for one that does not


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer: what its processes are started with, each by the arguments of its Python.

    `packages` are those whose versions are told; `shapes` those workflows that it can be asked for; `divisor` is by how
    much fewer its runs are than the others', and it has a `database` if it keeps its runs in the PostgreSQL of all.
    `python` returns the interpreter that has its packages;
    `patience` is in seconds, until its client is there. In `variables`,
    `{folder}` stands for the folder of its logs, and `{port}` for the port of a server of its own.
    """

    name: str
    client: str
    workers: Mapping[str, Sequence[str]]
    packages: Sequence[str]
    setup: str
    shapes: Collection[str] = ("sample",)
    divisor: int = 1
    database: bool = False
    python: Callable[[], Path] = lambda: Path(sys.executable)
    patience: float = START_SECONDS
    variables: Mapping[str, str] = field(default_factory=dict[str, str])

    def can(self, shape: Shape) -> bool:
        """Tell whether it is measured with workflows of that shape."""
        return shape.name in self.shapes

    def prepare(self) -> None:
        """See to its packages; raise UnavailableError `peer_not_installed`."""
        self.python()

    def start(self, resources: ExitStack, servers: Servers, folder: Path) -> RunningSide:
        """Start its workers and its client; raise UnavailableError `<name>_start_failed`."""
        folder.mkdir(parents=True, exist_ok=True)
        python, key, port = self.python(), secrets.token_hex(16), free_port()
        env = {**_addresses(servers), **self._variables(folder), PORT: str(port), KEY: key}

        def begin(role: str, arguments: Sequence[str]) -> Server:
            name = f"{self.name} {role}"
            return start(resources, name, [python, *arguments], log=folder / f"{role}.log", env=env)

        for role, arguments in self.workers.items():
            begin(role, arguments)
        connection = _connect(begin("client", ["-m", self.client]), port, key.encode(), self.patience)
        resources.callback(connection.close)
        return DrivenPeer(self.name, connection, versions_in(python, self.packages))

    def _variables(self, folder: Path) -> Mapping[str, str]:
        port = str(free_port())
        own = {name: value.format(folder=folder, port=port) for name, value in self.variables.items()}
        return {**own, SERVER_PORT: port}


class DrivenPeer:
    """A peer that was started."""

    def __init__(self, name: str, connection: "Connection[object, object]", versions: Mapping[str, str]) -> None:
        self._name = name
        self._connection = connection
        self.versions = versions

    def batch(self, shape: Shape, runs: int) -> Batch:
        """Have its client submit runs at once, and wait for their ends. Raises RunsLostError."""
        try:
            self._connection.send((shape, runs))
            if not self._connection.poll(PATIENCE + GRACE_SECONDS):
                raise RunsLostError(f"{self._name}: no answer about {runs} runs")
            answer = self._connection.recv()
        except (EOFError, OSError) as err:
            raise RunsLostError(f"{self._name}: its client has ended") from err
        if not isinstance(answer, float):
            raise RunsLostError(f"{self._name}: {answer}")
        return Batch(answer)


def _addresses(servers: Servers) -> Mapping[str, str]:
    settings = servers.settings
    return {
        BROKER_URL: settings.require("amqp_url"),
        DATABASE_URL: settings.require("database_url"),
        REDIS_URL: servers.redis_url,
    }


def _connect(client: Server, port: int, key: bytes, patience: float) -> "Connection[object, object]":
    """Return the connection to a client, once it listens."""
    opened: list[Connection[object, object]] = []

    def is_open() -> bool:
        try:
            opened.append(Client((HOST, port), authkey=key))
        except ConnectionRefusedError:
            return False
        return True

    client.wait_until(is_open, timeout=patience, cancelled=threading.Event())
    return opened[0]
