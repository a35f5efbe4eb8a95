"""A job kills its worker; a worker is stopped, and goes on when nobody waits for it any more."""

from tests.chaos.fleet import KILLED, LLM_WORKER, MODEL, TRACKER, WORKER
from tests.chaos.graphs import question
from tests.chaos.obedient_worker import DIE
from tests.chaos.scale import scaled
from tests.chaos.waiting import eventually

from run_tracker.repository import RunRepository
from shared.contracts.graph import WorkflowGraph
from shared.contracts.states import NodeStatus, RunStatus

DELIVERIES = 3
NEIGHBOURS = 3
CRASH_SECONDS = 60.0
LETHAL = WorkflowGraph(nodes=(question("lethal", DIE), *(question(f"innocent_{n}") for n in range(NEIGHBOURS))))
LETHAL_JOBS = scaled(full=4, short=1)


async def history_of(system, command):
    view = await RunRepository(system.database).get(command.run_id)
    assert view
    return view


async def test_a_job_that_kills_its_worker_fails_and_its_neighbours_finish(system, measured):
    await system.fleet.run_only("orchestrator", TRACKER, WORKER)
    load = system.load(width=0, graph=LETHAL)
    async with system.fleet.kept_alive(WORKER), load.applied(within=CRASH_SECONDS):
        await load.start(LETHAL_JOBS)
    deaths = system.fleet.restarts[WORKER]
    nodes = [node for command in load.accepted for node in (await history_of(system, command)).nodes or ()]
    errors = [node.error and node.error.code for node in nodes if node.node_id == "lethal"]
    measured("13", f"{LETHAL_JOBS} lethal jobs, each with {NEIGHBOURS} neighbours", f"{len(deaths)} workers died")
    assert errors == ["worker_crashed"] * LETHAL_JOBS
    assert {str(node.status) for node in nodes if node.node_id != "lethal"} == {NodeStatus.SUCCESS}
    # Lethal jobs that are in one worker's hands die together.
    assert set(deaths) == {KILLED}
    assert DELIVERIES <= len(deaths) <= DELIVERIES * LETHAL_JOBS
    await system.check_clean(
        load.accepted,
        expected={command.run_id: RunStatus.PARTIAL for command in load.accepted},
        dead_letters={"dead.jobs.llm": LETHAL_JOBS},
    )


TIMEOUT = 1.5  # seconds
SLOW = WorkflowGraph(nodes=(question("slow", timeout=TIMEOUT),))
GIVEN_UP_SECONDS = 30.0
_JOURNALED = """
SELECT EXISTS (SELECT FROM orchestrator.journal JOIN orchestrator.run USING (run_id)
WHERE run.finished_at IS NULL AND event->>'kind' = $1)
"""


async def test_the_late_result_of_a_stopped_worker_changes_nothing(system, measured):
    # With one job in hand at most, the stopped worker is given no other: the next attempt goes to the other one.
    await system.fleet.run_only("orchestrator", TRACKER)
    await system.fleet.run_only("orchestrator", TRACKER, MODEL, LLM_WORKER, llm_concurrency=1)
    load = system.load(width=0, graph=SLOW)
    async with load.applied():
        await system.hold_model_calls(1)
        (command,) = await load.start(1)
        await system.model_calls(held=1)
        await eventually("its attempt is known to last", _is_journaled(system, "node.lasting"), within=GIVEN_UP_SECONDS)
        system.fleet.hold(LLM_WORKER)
        await system.release_model_calls()
        await system.fleet.start(f"{LLM_WORKER}_2")
        await load.reach(1, within=GIVEN_UP_SECONDS)
        before = await history_of(system, command)
        system.fleet.go_on(LLM_WORKER)
        await eventually("the late worker is done", _is_late_or_abandoned(system, command), within=GIVEN_UP_SECONDS)
    await system.check_clean(load.accepted)
    after = await history_of(system, command)
    late = [str(result.outcome) for node in after.nodes or () for result in node.late]
    measured("14", "a worker stopped past the timeout, then continued", f"nothing changed; told as late: {late}")
    assert [node.attempt for node in after.nodes or ()] == [2]
    assert without_late(after) == without_late(before)


def without_late(view):
    """Return what is known of a run, without the results that came too late."""
    return view.model_copy(update={"nodes": tuple(node.model_copy(update={"late": ()}) for node in view.nodes)})


def _is_journaled(system, kind):
    async def holds() -> bool:
        async with system.database.transaction() as connection:
            return await connection.fetchval(_JOURNALED, kind)

    return holds


def _is_late_or_abandoned(system, command):
    """Tell whether the worker that was stopped has told its result, or has heard before that nobody waits for it."""

    async def holds() -> bool:
        late = [result for node in (await history_of(system, command)).nodes or () for result in node.late]
        return bool(late) or await system.metric(LLM_WORKER, "weft_jobs_abandoned_total") > 0

    return holds
