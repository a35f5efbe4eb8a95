"""What is known on disk of the services that run in a folder: `services.json`, read by `shared.settings`, too."""

import threading
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.embedded.processes import RunningProcess
from shared.embedded.secrets_file import write_private
from shared.settings import SERVICES_FILE


class ServiceRecord(RunningProcess):
    """A service's process, and where it answers HTTP."""

    url: str


class ServicesRecord(BaseModel):
    """The content of the file. The addresses of gateway and model are in it while all services are ready."""

    model_config = ConfigDict(frozen=True)

    owner: RunningProcess
    gateway_url: str | None = None
    llm_base_url: str | None = None
    services: dict[str, ServiceRecord] = {}


class ServicesFile:
    """The file; readable by its owner only, replaced as a whole, safe to use from many threads."""

    def __init__(self, home: Path) -> None:
        self._path = home.resolve() / SERVICES_FILE
        self._guard = threading.Lock()
        self._record = ServicesRecord(owner=RunningProcess.this())

    def read(self) -> ServicesRecord | None:
        """Return what the file says; None if there is none, or none that can be understood."""
        try:
            return ServicesRecord.model_validate_json(self._path.read_text())
        except (FileNotFoundError, ValidationError):
            return None

    def running(self) -> ServicesRecord | None:
        """Return what the file says if all services are up and their supervisor lives."""
        record = self.read()
        return record if record and record.gateway_url and record.owner.find() else None

    def add(self, service: ServiceRecord) -> None:
        """Record a process, at once, so that a later start finds it whatever happens to us."""
        with self._guard:
            services = {**self._record.services, service.name: service}
            self._write(self._record.model_copy(update={"services": services}))

    def publish(self, *, gateway_url: str, llm_base_url: str) -> None:
        """Record the addresses: all services are ready."""
        with self._guard:
            self._write(self._record.model_copy(update={"gateway_url": gateway_url, "llm_base_url": llm_base_url}))

    def remove(self) -> None:
        """Forget everything: nothing runs any more."""
        with self._guard:
            self._record = ServicesRecord(owner=RunningProcess.this())
            self._path.unlink(missing_ok=True)

    def _write(self, record: ServicesRecord) -> None:
        self._record = record
        write_private(self._path, record.model_dump_json(exclude_none=True, indent=2))
