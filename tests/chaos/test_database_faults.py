"""PostgreSQL is restarted without a warning, and ends all its sessions."""

import asyncio
import random

from tests.chaos.fleet import ORCHESTRATORS, TRACKER, WORKER
from tests.chaos.scale import repeated, scaled
from tests.chaos.system import in_thread

from shared.contracts.errors import UnavailableError

SERVICES = (*ORCHESTRATORS[:2], TRACKER, WORKER)
FEWEST_RUNS = 30
PAUSES = scaled(full=(2.0, 5.0), short=(0.5, 1.0))  # seconds between restarts
TERMINATION_PAUSE = 0.3  # seconds
_TERMINATE_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend'"


async def test_a_database_that_is_restarted_without_a_warning_loses_nothing(system, measured):
    await system.fleet.run_only(*SERVICES)
    load, restarts = system.load(width=30), 0
    async with load.applied():
        for _ in repeated(full=40.0, short=2):
            await asyncio.sleep(random.uniform(*PAUSES))
            restarts += 1
            await in_thread(system.servers.restart_postgres)
        await load.reach(FEWEST_RUNS, within=60)
    await system.check_clean(load.accepted)
    assert all(map(system.fleet.is_alive, SERVICES))
    measured("8", f"{restarts} restarts with -m immediate, {len(load.accepted)} runs", "no service was restarted")


async def test_sessions_that_the_database_ends_are_opened_anew(system, measured):
    await system.fleet.run_only(*SERVICES)
    load, terminations = system.load(width=30), 0
    async with load.applied():
        for _ in repeated(full=25.0, short=10):
            await asyncio.sleep(TERMINATION_PAUSE)
            terminations += 1
            await terminate_all(system)
        await load.reach(FEWEST_RUNS, within=60)
    await system.check_clean(load.accepted)
    assert all(map(system.fleet.is_alive, SERVICES))
    measured("9, sessions", f"{terminations} x all ended, {len(load.accepted)} runs", "no service was restarted")


async def terminate_all(system):
    """End all sessions of the database, the asking one among them."""
    try:
        async with system.database.transaction() as connection:
            await connection.execute(_TERMINATE_ALL)
    except UnavailableError:
        return
    raise AssertionError("the asking session survived")
