"""Servers that an owner which was killed has left running: found, and stopped in order.

Most are on record in the stack's file. Servers whose folder was removed under them are found by what they were
started with: PostgreSQL by its data folder, RabbitMQ and its port mapper by their home folder.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil

from shared.embedded.processes import RunningProcess
from shared.embedded.rabbitmq_container import remove_container
from shared.embedded.state import StackRecord


def stop_leftovers(home: Path, record: StackRecord | None) -> None:
    """Stop all servers of the stack in that folder; call it only while holding the folder's lock."""
    if record is not None:
        for process in reversed(record.processes):
            process.stop()
        for container in record.containers:
            remove_container(container)
    for process in list(_strays(home)):
        process.stop()


def _strays(home: Path) -> Iterator[RunningProcess]:
    for process in psutil.process_iter():
        try:
            number = _stop_signal(process, home)
            if number is not None:
                leader = psutil.Process(os.getsid(process.pid))
                yield RunningProcess(
                    name=leader.name(), pid=leader.pid, created=leader.create_time(), stop_signal=number
                )
        except (psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError):  # ended meanwhile, or not ours
            continue


def _stop_signal(process: psutil.Process, home: Path) -> int | None:
    """Return the signal that stops the process in order, if it is a server of the stack in that folder."""
    if process.name() == "postgres" and str(home / "postgres" / "data") in process.cmdline():
        return signal.SIGINT
    if process.uids().real == os.getuid() and process.environ().get("HOME") == str(home / "rabbitmq"):
        return signal.SIGTERM
    return None
