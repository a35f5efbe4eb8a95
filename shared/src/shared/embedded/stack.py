"""The local stack as a whole: PostgreSQL and RabbitMQ side by side, and a folder for assets."""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol

from shared.contracts.errors import UnavailableError
from shared.embedded.leftovers import stop_leftovers
from shared.embedded.postgres import PostgresServer
from shared.embedded.processes import lost_port
from shared.embedded.rabbitmq import rabbitmq_in
from shared.embedded.state import StackFile, StackLock, StackUrls


class Part(Protocol):
    """A server of the stack."""

    folder: Path

    @property
    def more_urls(self) -> Mapping[str, str]:
        """Its further addresses by their names in StackUrls, once it has started."""
        ...

    def start(self, file: StackFile, cancelled: threading.Event) -> str:
        """Start it, recording its processes as they start, and return its address; give up when cancelled."""
        ...

    def stop(self) -> None:
        """Stop what was started, also after a start that failed half-way."""
        ...


class EmbeddedStack:
    """A private PostgreSQL and RabbitMQ under one folder, whose data stay from one start to the next.

    One process at a time runs the stack of a folder; others read its addresses with `running`. The addresses are in
    `<home>/stack.json` while it runs. Its servers outlive an owner that is killed; the next start stops them first.
    """

    def __init__(self, home: Path, *, postgres: bool = True, rabbitmq: bool = True) -> None:
        self._home = home.resolve()
        self._with_postgres, self._with_rabbitmq = postgres, rabbitmq
        self._file = StackFile(self._home)
        self._resources = ExitStack()

    @staticmethod
    def running(home: Path) -> StackUrls | None:
        """Return the addresses of the stack that runs in that folder, in whatever process; None if none does."""
        record = StackFile(home.resolve()).read()
        return record.urls() if record is not None and record.owner.find() is not None else None

    def start(self) -> StackUrls:
        """Start the servers side by side and return their addresses, once both answer.

        Raises UnavailableError: `stack_already_running`, `rabbitmq_not_found`, or `<server>_start_failed` with the
        cause and the log file. Nothing is left running then.
        """
        self._home.mkdir(parents=True, exist_ok=True)
        with ExitStack() as resources:
            resources.enter_context(StackLock(self._home))
            stop_leftovers(self._home, self._file.read())
            resources.callback(self._file.remove)
            urls = self._start_parts(resources)
            self._file.publish(urls)
            self._resources = resources.pop_all()
        return urls

    def stop(self) -> None:
        """Stop the servers in order, RabbitMQ first; returns when no process of theirs is left."""
        self._resources.close()

    def __enter__(self) -> StackUrls:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_parts(self, resources: ExitStack) -> StackUrls:
        assets = self._home / "assets"
        assets.mkdir(exist_ok=True)
        parts = self._parts()
        for part in parts.values():
            resources.callback(part.stop)
        urls = _start_side_by_side(list(parts.values()), self._file)
        by_name: dict[str, str | None] = dict.fromkeys(("amqp_url", "database_url"))
        by_name.update(zip(parts, urls, strict=True))
        more = {name: url for part in parts.values() for name, url in part.more_urls.items()}
        return StackUrls(assets_url=assets.as_uri(), **by_name, **more)

    def _parts(self) -> dict[str, Part]:
        """Return the servers to start, in the order opposite to that in which they are stopped."""
        parts: dict[str, Part] = {}
        if self._with_postgres:
            parts["database_url"] = PostgresServer(self._home / "postgres")
        if self._with_rabbitmq:
            parts["amqp_url"] = rabbitmq_in(self._home / "rabbitmq")
        return parts


def _start_side_by_side(parts: Sequence[Part], file: StackFile) -> list[str]:
    """Start the servers in threads; if one fails, the others give up, and its error is raised."""
    cancelled = threading.Event()
    with ThreadPoolExecutor(max_workers=max(1, len(parts))) as threads:
        starts = [threads.submit(_start_part, part, file, cancelled) for part in parts]
        try:
            wait(starts, return_when=FIRST_EXCEPTION)
            _raise_first_failure(starts)
        finally:
            cancelled.set()
        return [start.result() for start in starts]


def _raise_first_failure(starts: Sequence[Future[str]]) -> None:
    for start in starts:
        if start.done():
            start.result()


def _start_part(part: Part, file: StackFile, cancelled: threading.Event) -> str:
    """Start the server; once more, if another process took its port between our choice and its use."""
    try:
        return part.start(file, cancelled)
    except UnavailableError:
        part.stop()
        if not lost_port(part.folder):
            raise
    return part.start(file, cancelled)
