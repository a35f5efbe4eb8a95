"""What is known of a stack on disk: who owns the folder, what runs in it, and under which addresses."""

import fcntl
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.contracts.errors import unavailable
from shared.embedded.processes import RunningProcess
from shared.embedded.secrets_file import write_private
from shared.settings import STACK_FILE


class StackUrls(BaseModel):
    """The addresses of a running stack; None for a server that was not asked for. They hold passwords."""

    model_config = ConfigDict(frozen=True)

    amqp_url: str | None
    database_url: str | None
    assets_url: str
    management_url: str | None = None


class StackRecord(BaseModel):
    """The content of the stack's file. There are no addresses in it until everything has started."""

    model_config = ConfigDict(frozen=True)

    owner: RunningProcess
    processes: tuple[RunningProcess, ...] = ()
    containers: tuple[str, ...] = ()
    amqp_url: str | None = None
    database_url: str | None = None
    assets_url: str | None = None
    management_url: str | None = None

    def urls(self) -> StackUrls | None:
        """Return the addresses, if everything has started."""
        if self.assets_url is None:
            return None
        return StackUrls(
            amqp_url=self.amqp_url,
            database_url=self.database_url,
            assets_url=self.assets_url,
            management_url=self.management_url,
        )


class StackFile:
    """The file with the addresses and processes of a stack; readable by its owner only, replaced as a whole."""

    def __init__(self, home: Path) -> None:
        self._path = home / STACK_FILE
        self._guard = threading.Lock()
        self._record = StackRecord(owner=RunningProcess.this())

    def read(self) -> StackRecord | None:
        """Return what the file says; None if there is none, or none that can be understood."""
        try:
            return StackRecord.model_validate_json(self._path.read_text())
        except (FileNotFoundError, ValidationError):
            return None

    def add_process(self, process: RunningProcess) -> None:
        """Record a process, at once, so that a later start finds it whatever happens to us."""
        with self._guard:
            self._write(self._record.model_copy(update={"processes": (*self._record.processes, process)}))

    def add_container(self, name: str) -> None:
        """Record a container, before it is made."""
        with self._guard:
            self._write(self._record.model_copy(update={"containers": (*self._record.containers, name)}))

    def publish(self, urls: StackUrls) -> None:
        """Record the addresses: the stack runs."""
        with self._guard:
            self._write(self._record.model_copy(update=urls.model_dump()))

    def remove(self) -> None:
        """Forget the addresses, and all processes that have ended; what a broken-off stop left stays on record."""
        with self._guard:
            left = tuple(process for process in self._record.processes if process.find() is not None)
            self._record = StackRecord(owner=self._record.owner, processes=left)
            if left:
                self._write(self._record)
            else:
                self._path.unlink(missing_ok=True)

    def _write(self, record: StackRecord) -> None:
        self._record = record
        write_private(self._path, record.model_dump_json(exclude_none=True, indent=2))


class StackLock:
    """The right to run a stack in a folder: held by one process at a time, given up when that process ends."""

    def __init__(self, home: Path) -> None:
        self._path = home / "lock"
        self._file: int | None = None

    def __enter__(self) -> Self:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            holder = os.read(file, 20).decode().strip() or "unknown"
            os.close(file)
            raise unavailable(
                "stack_already_running",
                f"the local stack runs already, in process {holder}",
                where=str(self._path.parent),
                fix="use the running one, stop that process, or choose another folder with WEFT_HOME",
            ) from err
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
