"""The journal on a real PostgreSQL: committed or not there at all, and right with any number of writers."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from orchestrator.domain.intake import take_in
from orchestrator.journal import Journal
from shared.contracts.graph import Edge, Node, WorkflowGraph
from shared.contracts.messages import NodeSucceeded, RunStart
from shared.contracts.values import TextValue

WIDE = 20
NOW = datetime(2026, 1, 1, tzinfo=UTC)
GRAPH = WorkflowGraph(
    nodes=(
        *(Node(id=f"ask{n}", type="llm", params={"userMessage": "?"}) for n in range(WIDE)),
        Node(id="join", type="llm", params={"userMessage": "?"}),
    ),
    edges=tuple(Edge(source=f"ask{n}", target="join", target_handle="texts") for n in range(WIDE)),
)


def start():
    return RunStart(run_id=uuid4(), graph=GRAPH)


def answer(command, node_id):
    return NodeSucceeded(
        run_id=command.run_id, node_id=node_id, node_type="llm", at=NOW, output=TextValue(text=node_id)
    )


async def handle(journal, *messages):
    """What the orchestrator does with a batch, without publishing; return the messages to publish."""
    published = []
    new = [message.run_id for message in messages if isinstance(message, RunStart)]
    async with journal.runs((message.run_id for message in messages), new) as runs:
        for message in messages:
            run = runs[message.run_id]
            decision = take_in(run.state, message, now=NOW)
            if decision.event:
                run.advance(decision.state, decision.event)
            published += decision.messages
    return published


async def state_of(journal, command):
    async with journal.runs([command.run_id], []) as runs:
        return runs[command.run_id].state


def jobs(messages):
    return [message.node_id for message in messages if message.kind_name() == "node.execute"]


async def test_another_process_replays_the_same_state(database):
    journal, command = Journal(database), start()
    await handle(journal, command, answer(command, "ask0"))
    await handle(journal, answer(command, "ask1"))
    assert await state_of(Journal(database), command) == await state_of(journal, command)


async def test_a_batch_that_fails_leaves_nothing_behind(database):
    journal, command = Journal(database), start()
    await handle(journal, command)
    with suppress(ZeroDivisionError):
        async with journal.runs([command.run_id], []) as runs:
            decision = take_in(runs[command.run_id].state, answer(command, "ask0"), now=NOW)
            assert decision.event
            runs[command.run_id].advance(decision.state, decision.event)
            _ = 1 / 0
    assert await state_of(journal, command) == await state_of(Journal(database), command)
    assert not (await state_of(journal, command)).nodes["ask0"].is_final


async def test_a_repeated_start_is_found_in_the_journal(database):
    journal, command = Journal(database), start()
    first = await handle(journal, command)
    again = await handle(Journal(database), command)
    assert again == first
    assert len(jobs(first)) == WIDE


async def test_siblings_at_once_on_three_replicas_fire_the_join_once(database):
    replicas, command = [Journal(database) for _ in range(3)], start()
    await handle(replicas[0], command)
    published = await asyncio.gather(
        *(handle(replicas[n % 3], answer(command, f"ask{n}")) for n in range(WIDE)),
    )
    assert [node_id for messages in published for node_id in jobs(messages)] == ["join"]


async def test_the_same_start_on_two_replicas_at_once_begins_one_run(database, stack):
    replicas, command = [Journal(database), Journal(database)], start()
    await asyncio.gather(*(handle(replica, command) for replica in replicas))
    connection = await asyncpg.connect(stack.database_url)
    rows = await connection.fetchval("SELECT count(*) FROM orchestrator.journal WHERE run_id = $1", command.run_id)
    await connection.close()
    assert rows == 1


async def test_a_finished_runs_journal_goes_after_its_grace_and_its_start_is_still_known(database):
    journal, command = Journal(database), start()
    await handle(journal, command, *(answer(command, f"ask{n}") for n in range(WIDE)))
    await journal.prune(timedelta(0))
    assert await state_of(Journal(database), command) is not None
    await handle(journal, answer(command, "join"))
    await journal.prune(timedelta(hours=1))
    assert await state_of(Journal(database), command) is not None
    await journal.prune(timedelta(0))
    async with Journal(database).runs([command.run_id], [command.run_id]) as runs:
        assert runs[command.run_id].pruned


@pytest.mark.usefixtures("empty_tables")
async def test_unknown_runs_are_not_there(database):
    async with Journal(database).runs([uuid4()], []) as runs:
        assert runs == {}
