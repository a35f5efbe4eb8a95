"""Services that are killed, or asked to stop, while many runs are under way."""

import asyncio
import random
import signal

from tests.chaos.fleet import KILLED, LLM_WORKER, MODEL, ORCHESTRATORS, TRACKER, WORKER
from tests.chaos.graphs import DIAMOND_JOBS
from tests.chaos.scale import repeated, scaled
from tests.chaos.system import EXECUTIONS
from tests.chaos.waiting import eventually

PAUSES = scaled(full=(2.0, 4.0), short=(0.5, 1.5))  # seconds between kills
FEWEST_RUNS = 20
STOP_SECONDS = 30.0


async def kill_at_random(system, names):
    """Kill one service after the other, and return who was killed."""
    killed = []
    for _ in repeated(full=40.0, short=2):
        await asyncio.sleep(random.uniform(*PAUSES))
        name = random.choice(names)
        system.fleet.kill(name)
        killed.append(name)
    return killed


async def test_killed_services_lose_nothing_and_pay_only_for_calls_in_flight(system, measured):
    services = ("orchestrator", TRACKER, LLM_WORKER)
    await system.fleet.run_only(MODEL, *services)
    before = await system.model_calls()
    load = system.load(width=20)
    async with system.fleet.kept_alive(*services), load.applied():
        killed = await kill_at_random(system, services)
        await load.reach(FEWEST_RUNS, within=60)
    await system.check_clean(load.accepted)
    assert {code for codes in system.fleet.restarts.values() for code in codes} == {KILLED}
    extra = await system.model_calls() - before - DIAMOND_JOBS * len(load.accepted)
    in_flight = killed.count(LLM_WORKER) * system.settings.llm_concurrency
    measured(
        "1", f"{len(load.accepted)} runs, {len(killed)} kills", f"{extra} extra model calls, of at most {in_flight}"
    )
    assert 0 <= extra <= in_flight


async def test_three_orchestrators_of_which_one_after_the_other_is_killed(system, measured):
    await system.fleet.run_only(*ORCHESTRATORS, TRACKER, WORKER)
    before = await system.metric(WORKER, EXECUTIONS)
    load = system.load(width=50)
    async with system.fleet.kept_alive(*ORCHESTRATORS), load.applied():
        killed = await kill_at_random(system, ORCHESTRATORS)
        await load.reach(FEWEST_RUNS, within=60)
    await system.check_clean(load.accepted)
    executed = await system.metric(WORKER, EXECUTIONS) - before
    measured("1, three replicas", f"{len(load.accepted)} runs, {len(killed)} kills", f"{executed:.0f} jobs executed")
    assert executed == DIAMOND_JOBS * len(load.accepted)


async def test_services_asked_to_stop_under_load_end_in_time_and_nothing_is_lost_or_done_twice(system, measured):
    services = ("orchestrator", TRACKER, LLM_WORKER)
    await system.fleet.run_only(MODEL, *services)
    before = await system.model_calls()
    load = system.load(width=20)
    async with system.fleet.kept_alive(*services), load.applied():
        slowest = [await _stop_in_turn(system, services[number % 3]) for number in repeated(full=25.0, short=3)]
        await load.reach(FEWEST_RUNS, within=60)
    await system.check_clean(load.accepted)
    assert {code for codes in system.fleet.restarts.values() for code in codes} == {0}
    measured("15", f"{len(load.accepted)} runs, {len(slowest)} stops", f"the longest took {max(slowest):.1f} s")
    assert await system.model_calls() - before == DIAMOND_JOBS * len(load.accepted)


async def _stop_in_turn(system, name):
    """Ask a service to stop, and return the seconds until it had ended; then it is started again."""
    ended = len(system.fleet.restarts[name])

    async def has_ended() -> bool:
        return len(system.fleet.restarts[name]) > ended

    system.fleet.signal(name, signal.SIGTERM)
    seconds = await eventually(f"{name} has ended", has_ended, within=STOP_SECONDS)
    await system.fleet.start(name)
    return seconds
