"""Messages that come several times, all at once, or spoilt."""

import random
from typing import Any

import aio_pika
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.chaos.fleet import ORCHESTRATORS, TRACKER
from tests.chaos.graphs import SINGLE, siblings
from tests.chaos.hand_worker import hand_worker, succeeded
from tests.chaos.scale import repeated, scaled
from tests.chaos.waiting import eventually
from tests.unit import test_orchestrator_core as core

from shared.topology import RESULTS_QUEUE

GRAPHS = scaled(full=500, short=50)
SIBLINGS = 100
JOINS_AT_ONCE = 10
BATCH = 100
COMMIT_SECONDS = 30.0  # a limit for a broken system; how long it took is measured
_FINISHED = """
SELECT count(*) FROM orchestrator.run WHERE run_id = ANY($1::uuid[]) AND finished_at IS NOT NULL
"""


def test_every_event_three_times_and_shuffled_ends_as_one_ordered_delivery(measured):
    repeated_and_shuffled: Any = core.test_repeated_and_shuffled_messages_change_nothing
    every_graph = given(core.graphs(), st.integers(), st.integers(), core.answers())
    settings(max_examples=GRAPHS, deadline=None)(every_graph(repeated_and_shuffled.hypothesis.inner_test))()
    measured("4", f"{GRAPHS} random graphs, every message three times and shuffled", "as one ordered delivery")


async def test_of_siblings_that_end_at_once_the_join_is_executed_once(system, measured):
    await system.fleet.run_only(*ORCHESTRATORS, TRACKER)
    load = system.load(width=0, graph=siblings(SIBLINGS))
    joins = 0
    async with load.applied(), hand_worker(system.settings.amqp_url) as worker:
        for _ in repeated(full=30.0, short=1):
            joins += await _end_at_once(load, worker)
    await system.check_clean(load.accepted)
    measured("5", f"{len(load.accepted)} x {SIBLINGS} siblings, three replicas", f"{joins} joins executed")
    assert joins == len(load.accepted)


async def _end_at_once(load, worker):
    """Let runs come to their joins in one moment; return how many joins were executed."""
    worker.jobs.clear()
    commands = await load.start(JOINS_AT_ONCE)
    waiting = await worker.wait_for(JOINS_AT_ONCE * SIBLINGS)
    random.shuffle(waiting)
    await worker.tell(waiting)
    joins = await worker.wait_for(len(commands), lambda job: job.node_id == "join")
    await worker.tell(joins)
    await load.reach(load.ended + len(commands), within=COMMIT_SECONDS)
    return sum(job.node_id == "join" for job in worker.jobs)


async def test_a_poison_message_harms_none_of_its_batch(system, measured):
    await system.fleet.run_only("orchestrator", TRACKER)
    load = system.load(width=0, graph=SINGLE)
    async with load.applied(), hand_worker(system.settings.amqp_url) as worker:
        commands = await load.start(BATCH - 1)
        jobs = await worker.wait_for(len(commands))
        system.fleet.hold("orchestrator")
        await worker.tell(jobs[: BATCH // 2])
        await _publish_poison(system, jobs[0])
        await worker.tell(jobs[BATCH // 2 :])
        system.fleet.go_on("orchestrator")
        seconds = await eventually("all others are committed", _finished(system, commands), within=COMMIT_SECONDS)
    await system.check_clean(load.accepted, dead_letters={f"dead.{RESULTS_QUEUE}": 2})
    measured("6", f"2 poison messages among {len(commands)}", f"the others were committed after {seconds:.2f} s")


async def _publish_poison(system, job):
    """Put a body that cannot be read, and the result of a node that its run does not have, into the queue."""
    stranger = succeeded(job).model_copy(update={"node_id": "nobody"})
    async with system.recorder.channel() as channel:
        for message in (aio_pika.Message(b"\xff\xfe"), aio_pika.Message(stranger.to_body())):
            await channel.default_exchange.publish(message, RESULTS_QUEUE)


def _finished(system, commands):
    async def holds() -> bool:
        async with system.database.transaction() as connection:
            ids = [command.run_id for command in commands]
            return await connection.fetchval(_FINISHED, ids) == len(commands)

    return holds
