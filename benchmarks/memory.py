"""The memory of the five services, started and idle."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.processes import start_services
from shared.settings import Settings

SERVICES = ("orchestrator", "run_tracker", "crop_worker", "llm_worker", "gateway")


@dataclass(frozen=True, slots=True)
class Memory:
    """What a service and its child processes hold, in bytes.

    `resident` counts shared pages in every process; `proportional` divides them among the processes that share
    them (Linux only, else 0); `unique` leaves them out.
    """

    name: str
    resident: int
    proportional: int
    unique: int


def measure_services(settings: Settings, folder: Path) -> list[Memory]:
    """Start the five services, measure them when all are ready, stop them."""
    with ExitStack() as resources:
        servers = start_services(resources, settings, {name: [name] for name in SERVICES}, folder=folder)
        return [_measure(name, server.process.pid) for name, server in servers.items()]


def _measure(name: str, pid: int) -> Memory:
    process = psutil.Process(pid)
    infos = [member.memory_full_info() for member in (process, *process.children(recursive=True))]
    return Memory(
        name,
        resident=sum(info.rss for info in infos),
        proportional=sum(getattr(info, "pss", 0) for info in infos),
        unique=sum(info.uss for info in infos),
    )
