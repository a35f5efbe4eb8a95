"""A model server in trouble, and workers that die with calls in their hands: what was asked is in the ledger."""

from collections import Counter

from tests.chaos.fleet import LLM_WORKER, MODEL, TRACKER
from tests.chaos.graphs import question
from tests.chaos.scale import repeated, scaled
from tests.chaos.system import in_thread
from tests.chaos.waiting import eventually

from shared.contracts.graph import WorkflowGraph

SERVICES = ("orchestrator", TRACKER, MODEL, LLM_WORKER)
TIMEOUT = 3.0  # seconds of an attempt; a call that stalls is given up then
ONE_QUESTION = WorkflowGraph(nodes=(question("ask", timeout=TIMEOUT),))
# What the server does, and what the ledger says of the call then.
FAULTS = (
    ({"kind": "error", "status": 429, "retry_after": 1}, ("failed", "llm_rate_limited")),
    ({"kind": "error", "status": 500}, ("failed", "llm_unavailable")),
    ({"kind": "drop"}, ("unknown", "llm_incomplete")),
    ({"kind": "stall"}, ("unknown", "cancelled")),
)
SETTLED_SECONDS = 60.0
_ROWS = "SELECT status, error_code FROM llm_worker.call WHERE run_id = ANY($1::uuid[])"


async def ledger_of(system, commands):
    """Return how often each ending is in the ledger for these runs."""
    async with system.database.transaction() as connection:
        rows = await connection.fetch(_ROWS, [command.run_id for command in commands])
    return Counter((row["status"], row["error_code"]) for row in rows)


async def test_each_call_of_a_server_in_trouble_is_in_the_ledger_as_it_ended(system, measured):
    await system.fleet.run_only(*SERVICES)
    before = await system.model_calls()
    load = system.load(width=0, graph=ONE_QUESTION)
    rounds = 0
    async with load.applied(within=SETTLED_SECONDS):
        for _ in repeated(full=20.0, short=1):
            rounds += 1
            await system.script_model([fault for fault, _ in FAULTS])
            await load.start(len(FAULTS))
            await load.reach(rounds * len(FAULTS), within=SETTLED_SECONDS)
    await system.check_clean(load.accepted)
    ledger, calls = await ledger_of(system, load.accepted), await system.model_calls() - before
    measured("17", f"{calls} calls, half of them with a fault", "each is in the ledger, as it ended")
    expected = Counter({ending: rounds for _, ending in FAULTS})
    assert ledger == expected + Counter({("succeeded", None): rounds * len(FAULTS)})
    assert ledger.total() == calls


async def test_calls_under_way_when_their_worker_died_are_unknown_and_made_again(system, measured):
    await system.fleet.run_only(*SERVICES)
    in_flight = system.settings.llm_concurrency
    before = await system.model_calls()
    load = system.load(width=0, graph=WorkflowGraph(nodes=(question("ask"),)))
    kills = scaled(full=5, short=1)
    async with load.applied(within=SETTLED_SECONDS):
        for killed in range(1, kills + 1):
            await system.hold_model_calls(in_flight)
            await load.start(in_flight)
            await system.model_calls(held=in_flight)
            system.fleet.kill(LLM_WORKER)
            await system.release_model_calls()
            await system.fleet.start(LLM_WORKER)
            await load.reach(killed * in_flight, within=SETTLED_SECONDS)
    await system.check_clean(load.accepted)
    ledger, calls = await ledger_of(system, load.accepted), await system.model_calls() - before
    lost = kills * in_flight
    measured("17, kill -9", f"{lost} calls under way at {kills} kills", f"{lost} unknown, made again once each")
    assert ledger == Counter({("unknown", None): lost, ("succeeded", None): lost})
    assert ledger.total() == calls


async def test_a_reply_whose_result_was_not_told_is_not_asked_for_again(system, measured):
    await system.fleet.run_only(*SERVICES)
    before = await system.model_calls()
    load = system.load(width=0, graph=WorkflowGraph(nodes=(question("ask"),)))
    async with load.applied(within=SETTLED_SECONDS):
        await system.hold_model_calls(1)
        await load.start(1)
        await system.model_calls(held=1)
        # Under its alarm the broker takes no messages: the reply is there, and its result cannot be told.
        await in_thread(system.servers.control_broker, "set_vm_memory_high_watermark", "0.000001")
        await system.release_model_calls()
        await eventually("the reply is in the ledger", _is_answered(system, load.accepted), within=SETTLED_SECONDS)
        system.fleet.kill(LLM_WORKER)
        await in_thread(system.servers.control_broker, "set_vm_memory_high_watermark", "0.6")
        await system.fleet.start(LLM_WORKER)
    await system.check_clean(load.accepted)
    calls = await system.model_calls() - before
    measured("17, result not told", "a worker killed between the reply and its result", f"{calls} call")
    assert calls == 1
    assert await ledger_of(system, load.accepted) == Counter({("succeeded", None): 1})


def _is_answered(system, commands):
    async def holds() -> bool:
        return await ledger_of(system, commands) == Counter({("succeeded", None): 1})

    return holds
