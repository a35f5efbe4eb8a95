"""The run tracker is away while runs go on; what it was not there for it learns afterwards."""

from tests.chaos.fleet import TRACKER, WORKER
from tests.chaos.scale import repeated, scaled
from tests.chaos.waiting import eventually

from shared.topology import HISTORY_QUEUE

AT_ONCE = scaled(full=500, short=100)  # runs
ENDED_SECONDS = 120.0
CONVERGED_SECONDS = 300.0
_FINISHED = """
SELECT count(*) FROM orchestrator.run WHERE run_id = ANY($1::uuid[]) AND finished_at IS NOT NULL
"""


async def test_what_happened_while_the_tracker_was_away_is_recorded_completely(system, measured):
    await system.fleet.run_only("orchestrator", TRACKER, WORKER)
    load = system.load(width=0)
    async with load.applied(within=CONVERGED_SECONDS):
        await load.start(AT_ONCE)
        system.fleet.kill(TRACKER)
        for _ in repeated(full=30.0, short=2):
            commands = await load.start(AT_ONCE)
            await eventually("runs end without the tracker", _finished(system, commands), within=ENDED_SECONDS)
        waiting = await _waiting_events(system)
        await system.fleet.start(TRACKER)
    await system.check_clean(load.accepted)
    runs = len(load.accepted)
    measured(
        "18", f"the tracker away during {runs} runs", f"{waiting} events made good in {load.settling_seconds:.0f} s"
    )
    assert waiting > runs


def _finished(system, commands):
    async def holds() -> bool:
        async with system.database.transaction() as connection:
            ids = [command.run_id for command in commands]
            return await connection.fetchval(_FINISHED, ids) == len(commands)

    return holds


async def _waiting_events(system):
    """Return how many events wait for the tracker."""
    async with system.recorder.channel() as channel:
        queue = await channel.declare_queue(HISTORY_QUEUE, passive=True)
        return queue.declaration_result.message_count
