"""A dead job joins its open run again: the real orchestrator and run tracker, on the real broker and database."""

from uuid import uuid4

import pytest
from tests.integration.gateway_client import until
from tests.integration.test_worker import die_with_jobs_in_hand
from tests.unit.core import ask, chain, succeeded

from orchestrator.main import create_service as orchestrator
from run_tracker.repository import RunRepository
from shared.contracts.commands import NodeExecute, NodeReplay, RunStart, read_job
from shared.contracts.graph import WorkflowGraph
from shared.contracts.states import FINAL_RUN_STATUSES, NodeStatus, RunStatus
from shared.topology import LETHAL_DEATHS

FAILED, SKIPPED, SUCCESS = NodeStatus.FAILED, NodeStatus.SKIPPED, NodeStatus.SUCCESS
BRANCH = chain("dead", "behind")
# The slow branch comes first, so its job does, too.
GRAPH = WorkflowGraph(nodes=(ask("slow"), *BRANCH.nodes), edges=BRANCH.edges)
EDITED = {"userMessage": "Is it mended?"}


@pytest.fixture
def history(database):
    return RunRepository(database)


async def job_of(channel, node_id, queue="jobs.llm"):
    """Take jobs one by one until that of a node has come: what a consumer has in hand when it goes counts as lethal."""
    declared = await channel.get_queue(queue)
    jobs: list[NodeExecute] = []

    async def has_come():
        delivery = await declared.get(no_ack=True, fail=False)
        jobs.extend([read_job(delivery.body)] if delivery else [])
        return bool(jobs) and jobs[-1].node_id == node_id

    await until(has_come)
    return jobs[-1]


async def knows(history, start, **statuses):
    """Tell whether the tables say so of these nodes."""
    run = await history.get(start.run_id)
    return run is not None and statuses.items() <= {node.node_id: node.status for node in run.nodes}.items()


async def has_ended(history, start):
    return (await history.get(start.run_id)).status in FINAL_RUN_STATUSES


async def test_a_replayed_dead_job_completes_its_run(stack, tracker_service, history, channel, worker_publisher):
    publish = worker_publisher.publish
    start = RunStart(run_id=uuid4(), graph=GRAPH)
    async with orchestrator(stack):
        await publish(start)
        slow = await job_of(channel, "slow")
        await die_with_jobs_in_hand(stack, "jobs.llm", 1)
        for _ in range(LETHAL_DEATHS - 1):
            await die_with_jobs_in_hand(stack, "jobs.llm.suspect", 1)
        letter = await job_of(channel, "dead", "dead.jobs.llm")
        await until(lambda: knows(history, start, dead=FAILED, behind=SKIPPED))
        word = NodeReplay(**letter.about, params={**EDITED})
        for _ in range(2):
            await publish(word)
        again = await job_of(channel, "dead")
        await publish(succeeded(again))
        behind = await job_of(channel, "behind")
        await until(lambda: knows(history, start, dead=SUCCESS, behind=NodeStatus.QUEUED))
        await publish(succeeded(behind))
        await publish(succeeded(slow))
        await until(lambda: has_ended(history, start))
    assert [(job.node_id, job.attempt) for job in (slow, letter, again, behind)] == [
        ("slow", 1),
        ("dead", 1),
        ("dead", 2),
        ("behind", 2),
    ]
    assert again.params == EDITED
    run = await history.get(start.run_id)
    assert (run.status, run.successful_nodes, run.failed_nodes, run.skipped_nodes) == (RunStatus.COMPLETED, 3, 0, 0)
    dead = next(node for node in run.nodes if node.node_id == "dead")
    assert [(attempt.attempt, attempt.status) for attempt in dead.attempts] == [(1, FAILED), (2, SUCCESS)]
    assert dead.attempts[0].error.code == "worker_crashed"
    assert dead.error is None
