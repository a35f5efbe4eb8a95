"""The orchestrator dies at the two moments when it hurts most, again and again."""

import asyncio

from tests.chaos.crashing_orchestrator import CRASH_NO_MORE, CRASHED_LINE, UNACKNOWLEDGED, UNPUBLISHED
from tests.chaos.fleet import CRASHING, TRACKER, WORKER
from tests.chaos.graphs import DIAMOND_JOBS
from tests.chaos.scale import FACTOR, scaled
from tests.chaos.system import EXECUTIONS
from tests.chaos.waiting import eventually

CRASHING_SECONDS = scaled(full=45.0 * FACTOR, short=1.5)
FEWEST_CRASHES = scaled(full=30, short=3)
RESTART_SECONDS = 30.0


async def crash_under_load(system, point):
    """Let orchestrators crash at a point under load; return the load, once all runs have ended, and how often."""
    await system.fleet.run_only(TRACKER, WORKER)
    earlier = len(system.fleet.log(CRASHING))
    system.fleet.spawn(CRASHING, point)

    def crashes() -> int:
        assert system.fleet.is_alive(CRASHING), system.fleet.log(CRASHING)[-2_000:]
        return system.fleet.log(CRASHING)[earlier:].count(CRASHED_LINE)

    async def crashed_often_enough() -> bool:
        return crashes() >= FEWEST_CRASHES

    load = system.load(width=20)
    async with load.applied(within=RESTART_SECONDS):
        await asyncio.sleep(CRASHING_SECONDS)
        await eventually("the fewest crashes that will do", crashed_often_enough, within=60)
        system.fleet.signal(CRASHING, CRASH_NO_MORE)
    return load, crashes()


async def test_what_was_journaled_and_not_published_is_published_after_a_crash(system, measured):
    load, crashes = await crash_under_load(system, UNPUBLISHED)
    await system.check_clean(load.accepted)
    ended = f"all runs ended {load.settling_seconds:.1f} s after the last restart"
    measured("2", f"{crashes} crashes, {len(load.accepted)} runs", ended)


async def test_what_was_published_and_not_acknowledged_takes_no_effect_twice_after_a_crash(system, measured):
    await system.fleet.run_only(TRACKER, WORKER)
    before = await system.metric(WORKER, EXECUTIONS)
    load, crashes = await crash_under_load(system, UNACKNOWLEDGED)
    await system.check_clean(load.accepted)
    executed = await system.metric(WORKER, EXECUTIONS) - before
    jobs = DIAMOND_JOBS * len(load.accepted)
    measured("3", f"{crashes} crashes, {len(load.accepted)} runs", f"{executed:.0f} executions of {jobs} jobs")
    assert executed == jobs
