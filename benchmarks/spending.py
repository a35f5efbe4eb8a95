"""What a load costs: the CPU time of every process that was started, and how much the databases grow."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple

import psutil
import uvloop

from benchmarks.measures import PATIENCE, Spent
from benchmarks.processes import PROCESS_NAME
from shared.database import connect_database
from shared.settings import Settings

# The servers of the embedded stack are not started here; RabbitMQ is several programs.
_SERVERS = {
    "postgres": "PostgreSQL",
    "beam.smp": "RabbitMQ",
    "erl_child_setup": "RabbitMQ",
    "rabbitmq-server": "RabbitMQ",
}
_SIZES = """
SELECT sum(pg_database_size(oid))::bigint AS database, (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint AS log
FROM pg_database
"""


class _Amounts(NamedTuple):
    cpu: Mapping[str, float]
    database: int
    log: int


class Meter:
    """Measures what is spent while something is done."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.require("database_url")

    def start(self) -> Callable[[], Spent]:
        """Begin; what is returned ends it, and returns what was spent since."""
        before = self._now()

        def stop() -> Spent:
            now = self._now()
            cpu = {name: seconds - before.cpu.get(name, 0.0) for name, seconds in now.cpu.items()}
            return Spent(cpu, now.database - before.database, now.log - before.log)

        return stop

    def _now(self) -> _Amounts:
        return _Amounts(cpu_by_name(), *uvloop.run(_sizes(self._url)))


def cpu_by_name() -> Mapping[str, float]:
    """Return the CPU seconds so far of this process and of all that it started, by their names."""
    seconds = defaultdict[str, float](float)
    me = psutil.Process()
    seconds["this command"] = cpu_of(me)
    for process in me.children(recursive=True):
        try:
            seconds[_name(process)] += cpu_of(process)
        except psutil.NoSuchProcess:
            continue
    return seconds


def cpu_of(process: psutil.Process) -> float:
    """Return the CPU seconds of one process so far."""
    times = process.cpu_times()
    return times.user + times.system


def _name(process: psutil.Process) -> str:
    """Return what a process was started as, by us or by a process of ours; else what its program is."""
    try:
        own = process.environ().get(PROCESS_NAME)
    except psutil.AccessDenied:
        own = None
    program = process.name()
    return own or _SERVERS.get(program, program)


async def _sizes(url: str) -> tuple[int, int]:
    async with (
        connect_database(url, name="benchmark", patience=PATIENCE, schema="public") as database,
        database.transaction() as connection,
    ):
        row = await connection.fetchrow(_SIZES)
    assert row
    return row["database"], row["log"]
