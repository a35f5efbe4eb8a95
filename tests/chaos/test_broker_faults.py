"""The broker is restarted, cuts all connections, loses bindings and queues."""

import asyncio

import pytest
from tests.chaos.fleet import TRACKER, WORKER
from tests.chaos.graphs import DIAMOND_JOBS
from tests.chaos.scale import is_full, repeated, scaled
from tests.chaos.system import BACK_SECONDS, EXECUTIONS, in_thread
from tests.chaos.waiting import eventually

from shared.setup import declare_topology
from shared.topology import COMMANDS_QUEUE, HISTORY_QUEUE, JOBS, RESULTS_QUEUE

SERVICES = ("orchestrator", TRACKER, WORKER)
REFUSAL_SECONDS = 20.0
CUT_ALL = '[rabbit_networking:close_connection(C, <<"cut by a test">>) || C <- rabbit_networking:connections()].'


async def restart_under_load(system, restart):
    """Restart the broker under load, and return the load and the seconds until all consumers were back each time."""
    await system.fleet.run_only(*SERVICES)
    load, seconds = system.load(width=20), []
    async with system.fleet.kept_alive(*SERVICES), load.applied():
        for _ in repeated(full=40.0, short=1):
            await load.reach(load.ended + 20, within=60)
            await in_thread(restart)
            seconds.append(await system.wait_for_consumers())
    await system.check_clean(load.accepted)
    return load, seconds


def restarted_services(system):
    return {name: codes for name, codes in system.fleet.restarts.items() if codes}


def said(ended):
    """Return how services ended, to be read: `, orchestrator ended 3 times, with 69`."""
    return "".join(
        f", {name} ended {len(codes)} times, with {' and '.join(map(str, sorted(set(codes))))}"
        for name, codes in ended.items()
    )


async def test_a_broker_that_is_killed_loses_no_confirmed_message(system, measured):
    def restart():
        system.servers.kill_broker()
        system.servers.start_broker()

    load, seconds = await restart_under_load(system, restart)
    measured("7, kill -9", f"{len(seconds)} restarts, {len(load.accepted)} runs", _back(system, seconds))


@pytest.mark.skipif(not is_full(), reason="a broker that is killed is the harder case; this one is in `make chaos`")
async def test_a_broker_application_that_is_restarted_loses_no_confirmed_message(system, measured):
    def restart():
        system.servers.control_broker("stop_app")
        system.servers.control_broker("start_app")
        system.servers.wait_for_broker()

    load, seconds = await restart_under_load(system, restart)
    measured("7, stop_app", f"{len(seconds)} restarts, {len(load.accepted)} runs", _back(system, seconds))


def _back(system, seconds):
    return f"consumers back after {max(seconds):.1f} s at most{said(restarted_services(system))}"


async def test_connections_that_the_broker_cuts_come_back_by_themselves(system, measured):
    await system.fleet.run_only(*SERVICES)
    load = system.load(width=20)
    pids, cuts = [system.fleet.pid(name) for name in SERVICES], 0
    before = await system.metric(WORKER, EXECUTIONS)
    async with load.applied():
        for _ in repeated(full=30.0, short=2):
            await load.reach(load.ended + 20, within=60)
            cuts += 1
            await in_thread(system.servers.control_broker, "eval", CUT_ALL)
            await system.wait_for_consumers()
    await system.check_clean(load.accepted)
    executed = await system.metric(WORKER, EXECUTIONS) - before
    assert [system.fleet.pid(name) for name in SERVICES] == pids
    assert all(map(system.fleet.is_alive, SERVICES))
    measured("9, connections", f"{cuts} x all cut, {len(load.accepted)} runs", "no service was restarted")
    assert executed == DIAMOND_JOBS * len(load.accepted)


HEARTBEAT = 1  # seconds; a connection is given up after three times one more
HELD_SECONDS = 10.0


async def test_a_broker_that_falls_silent_is_waited_for(system, measured):
    await system.fleet.run_only()  # what runs has other settings
    await system.fleet.run_only(*SERVICES, heartbeat=HEARTBEAT)
    pids = [system.fleet.pid(name) for name in SERVICES]
    load = system.load(width=20)
    async with load.applied():
        for _ in repeated(full=60.0, short=1):
            await load.reach(load.ended + 20, within=60)
            system.servers.hold_broker()
            await asyncio.sleep(HELD_SECONDS)
            system.servers.let_broker_go_on()
            await system.wait_for_consumers()
    await system.check_clean(load.accepted)
    assert [system.fleet.pid(name) for name in SERVICES] == pids
    assert all(map(system.fleet.is_alive, SERVICES))
    await system.fleet.run_only()
    measured("9, silence", f"held for {HELD_SECONDS:.0f} s, {len(load.accepted)} runs", "no service was restarted")


async def test_what_cannot_be_published_leaves_its_cause_unacknowledged(system, measured):
    await system.fleet.run_only(*SERVICES)
    load = system.load(width=0)
    async with load.applied(), system.recorder.channel() as channel:
        queue = await channel.declare_queue("jobs.llm", passive=True)
        await queue.unbind(JOBS, "llm")
        await load.start(1)
        await _wait_until_refused(system)
        # What was not acknowledged comes again to whoever is there next.
        system.fleet.kill("orchestrator")
        system.fleet.spawn("orchestrator")
        await _wait_until_refused(system)
        await queue.bind(JOBS, "llm")
    await system.check_clean(load.accepted)
    measured("12, unbound", "jobs.llm unbound while a run starts", "its start came again until it was bound again")


async def _wait_until_refused(system):
    """Return when the orchestrator has noted once more that the broker refuses a job."""
    before = system.fleet.log("orchestrator").count("unroutable")

    async def noted() -> bool:
        return system.fleet.log("orchestrator").count("unroutable") > before

    await eventually("the broker refuses the job", noted, within=REFUSAL_SECONDS)


BRIEFLY, FOR_LONG = scaled(full=4.0, short=0.5), 25.0  # seconds; the latter is too long for a service to wait
DELETED = scaled(
    full=[(name, BRIEFLY) for name in ("jobs.llm", RESULTS_QUEUE, COMMANDS_QUEUE, HISTORY_QUEUE)]
    + [("jobs.llm", FOR_LONG), (RESULTS_QUEUE, FOR_LONG)],
    short=[("jobs.llm", BRIEFLY), (COMMANDS_QUEUE, BRIEFLY)],
)


@pytest.mark.parametrize(("name", "missing"), DELETED)
async def test_a_queue_that_was_deleted_and_made_anew_is_consumed_again(system, measured, name, missing):
    await system.fleet.run_only(*SERVICES)
    await system.wait_for_consumers()
    async with system.fleet.kept_alive(*SERVICES):
        async with system.recorder.channel() as channel:
            await channel.queue_delete(name)
        await asyncio.sleep(missing)
        await declare_topology(system.settings)
        seconds = await system.wait_for_consumers()
        load = system.load(width=5)
        async with load.applied(within=BACK_SECONDS):
            await load.reach(5, within=BACK_SECONDS)
    await system.check_clean(load.accepted)
    ended = restarted_services(system)
    assert 0 not in [code for codes in ended.values() for code in codes], "a service ended as if all were well"
    result = f"consumed again after {seconds:.1f} s{said(ended)}"
    measured("12, deleted", f"{name} deleted, and made anew after {missing:g} s", result)
