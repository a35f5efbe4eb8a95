"""Questions to the run tracker over a real broker, about what it was told over the same broker."""

import asyncio
from uuid import uuid4

import pytest
from tests.unit.histories import COMMAND, EVENTS, RUN_ID, VIEWS, WORKFLOW_ID, at

from run_tracker.main import create_service
from shared.contracts.history import (
    FindRun,
    GetStatistics,
    GetTimeline,
    ListRuns,
    PruneHistory,
    PruneReply,
    StatisticsReply,
    TimelineReply,
)
from shared.contracts.queries import (
    CommandReply,
    FindOutputs,
    GetCommand,
    GetRun,
    OutputsReply,
    RunReply,
    RunsReply,
)
from shared.contracts.states import FINAL_RUN_STATUSES
from shared.contracts.values import TextValue
from shared.messaging.connection import connect
from shared.messaging.requests import Requests
from shared.topology import QUERIES_QUEUE


@pytest.fixture
async def ask(stack, publisher, empty_queues, empty_tables):
    """Asks the tracker, once it knows all that was told of a run."""
    async with create_service(stack), connect(stack.amqp_url, name="test", patience=5) as connection:
        requests = await Requests.start(await connection.channel(on_return_raises=True), asker="test")

        async def ask(query, reply):
            return reply.model_validate_json(await requests.ask(query, QUERIES_QUEUE, patience=5))

        for event in EVENTS:
            await publisher.publish(event)
        async with asyncio.timeout(30):
            while not is_complete((await ask(GetRun(run_id=RUN_ID), RunReply)).run):
                pass
        yield ask


def is_complete(run):
    return run is not None and run.status in FINAL_RUN_STATUSES and len(run.nodes) == len(VIEWS)


async def test_a_run_is_told_with_its_nodes_and_listed_without(ask):
    run = (await ask(GetRun(run_id=RUN_ID), RunReply)).run
    assert run.nodes == VIEWS
    assert (await ask(ListRuns(workflow_id=WORKFLOW_ID), RunsReply)).runs == (
        run.model_copy(update={"nodes": None, "result": None}),
    )
    assert (await ask(ListRuns(workflow_id=uuid4()), RunsReply)).runs == ()
    assert (await ask(GetRun(run_id=uuid4()), RunReply)).run is None


async def test_how_a_run_was_asked_for_is_told(ask):
    assert (await ask(GetCommand(run_id=RUN_ID), CommandReply)).command == COMMAND
    assert (await ask(GetCommand(run_id=uuid4()), CommandReply)).command is None


async def test_outputs_of_nodes_that_succeeded_are_told(ask):
    node_ids = ("limited", "given", "gone", "open")
    assert (await ask(FindOutputs(workflow_id=WORKFLOW_ID, node_ids=node_ids), OutputsReply)).outputs == {
        "limited": TextValue(text="answer"),
        "given": TextValue(text="earlier"),
    }


async def test_what_the_nodes_did_when_is_told_attempt_by_attempt(ask):
    reply = await ask(GetTimeline(run_id=RUN_ID), TimelineReply)
    assert (reply.created_at, reply.finished_at, reply.next) == (at(0), at(60), None)
    limited = [entry for entry in reply.entries if entry.node_id == "limited"]
    assert [(entry.attempt, entry.status, entry.started_at, entry.finished_at) for entry in limited] == [
        (1, "failed", at(2), at(3)),
        (2, "success", at(11), at(12)),
    ]
    say = next(entry for entry in reply.entries if entry.node_id == "say")
    assert (say.attempt, say.status, say.finished_at) == (None, "success", at(0))
    assert (await ask(GetTimeline(run_id=uuid4()), TimelineReply)).known is False


async def test_statistics_are_told(ask):
    query = GetStatistics(workflow_id=WORKFLOW_ID, since=at(0), until=at(100))
    total = (await ask(query, StatisticsReply)).total
    assert (total.runs, total.cancelled, total.cost) == (1, 1, 0.06)


async def test_a_name_of_no_run_finds_none(ask):
    assert (await ask(FindRun(trigger_run_id="nobody"), RunReply)).run is None


async def test_what_is_not_old_is_not_dropped(ask):
    assert await ask(PruneHistory(older_than_days=1), PruneReply) == PruneReply()
    assert (await ask(GetRun(run_id=RUN_ID), RunReply)).run
