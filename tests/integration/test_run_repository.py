"""Run history in a real PostgreSQL: the tables follow the same rules as the records."""

import random
from uuid import uuid4

import pytest
from tests.unit.test_run_records import EVENTS, RUN_ID, STARTED

from run_tracker.handlers import EventHandler
from run_tracker.repository import RunRepository
from shared.contracts.states import NodeStatus, RunStatus


@pytest.fixture
def repository(database):
    return RunRepository(database)


async def record(repository, batches):
    handler = EventHandler(repository)
    for batch in batches:
        await handler.handle(batch)
    return await repository.get(RUN_ID)


async def test_events_one_by_one_make_a_run_with_its_nodes_in_order(repository):
    run = await record(repository, [[event] for event in EVENTS])
    assert run.status is RunStatus.PARTIAL
    assert (run.total_nodes, run.successful_nodes, run.failed_nodes, run.skipped_nodes) == (4, 2, 1, 1)
    assert [node.node_id for node in run.nodes] == ["say", "ask", "bad", "after"]
    assert [node.status for node in run.nodes] == ["success", "success", "failed", "skipped"]
    assert run.nodes[1].output.text == "answer"
    assert (run.nodes[1].attempt, run.nodes[1].error) == (2, None)
    assert run.nodes[2].error.code == "llm_refused"


@pytest.mark.parametrize("seed", range(10))
async def test_any_order_repetition_and_batching_gives_the_same_rows(repository, database, seed):
    expected = await record(repository, [EVENTS])
    async with database.transaction() as connection:
        await connection.execute("TRUNCATE run_tracker.workflow_run, run_tracker.node_execution")
    shuffler = random.Random(seed)
    events = list(EVENTS * 3)
    shuffler.shuffle(events)
    size = shuffler.randint(1, 6)
    batches = [events[start : start + size] for start in range(0, len(events), size)]
    assert await record(repository, batches) == expected


async def test_a_final_state_in_the_table_is_never_taken_back(repository):
    await record(repository, [[EVENTS[-1]], [EVENTS[0]], [STARTED]])
    run = await repository.get(RUN_ID)
    assert run.status is RunStatus.PARTIAL
    assert {node.node_id: node.status for node in run.nodes}["ask"] is NodeStatus.SUCCESS


async def test_runs_are_listed_newest_first_by_workflow_and_limited(repository):
    workflow_id = uuid4()
    started = EVENTS[0]
    for number in range(3):
        event = started.model_copy(
            update={
                "run_id": uuid4(),
                "workflow_id": workflow_id if number < 2 else None,
                "at": started.at.replace(hour=number),
            }
        )
        await EventHandler(repository).handle([event])
    assert [run.created_at.hour for run in await repository.newest(None, 10)] == [2, 1, 0]
    assert [run.created_at.hour for run in await repository.newest(workflow_id, 10)] == [1, 0]
    assert [run.created_at.hour for run in await repository.newest(None, 1)] == [2]


async def test_an_unknown_run_is_none(repository):
    assert await repository.get(uuid4()) is None
