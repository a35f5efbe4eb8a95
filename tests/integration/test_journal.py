"""The journal on a real PostgreSQL: committed or not there at all, and right with any number of writers."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from pydantic import JsonValue

from orchestrator import cache
from orchestrator import journal as journal_module
from orchestrator.admission import Admission
from orchestrator.batch import take_in_batch
from orchestrator.domain.evolve import evolve
from orchestrator.domain.intake import take_in
from orchestrator.journal import Journal
from shared.contracts.commands import RunCancel, RunStart
from shared.contracts.events import NodeSucceeded
from shared.contracts.graph import Edge, Node, WorkflowGraph
from shared.contracts.run_options import DEFAULT_WINDOW, Concurrency, RunOptions
from shared.contracts.values import TextValue

WIDE = DEFAULT_WINDOW  # as many as are in flight at once
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LONG = timedelta(days=1)
NAMED: dict[str, JsonValue] = {"model": "m"}
ONE = (Edge(source="say", target="ask", target_handle="user_message"),)
GRAPH = WorkflowGraph(
    nodes=(
        *(Node(id=f"ask{n}", type="llm", params={"userMessage": "?"}) for n in range(WIDE)),
        Node(id="join", type="llm", params={"userMessage": "?"}),
    ),
    edges=tuple(Edge(source=f"ask{n}", target="join", target_handle="texts") for n in range(WIDE)),
)


def start(**fields):
    return RunStart(run_id=uuid4(), graph=GRAPH, **fields)


def answer(command, node_id):
    return NodeSucceeded(
        run_id=command.run_id, node_id=node_id, node_type="llm", at=NOW, output=TextValue(text=node_id)
    )


async def handle(journal, *messages) -> Any:
    """What the orchestrator does with a batch, without publishing; return the messages to publish."""
    return (await take_in_batch(journal, messages, now=NOW)).messages


async def state_of(journal, command):
    async with journal.lock([command.run_id]) as locked:
        return locked.runs[command.run_id].state


def jobs(messages):
    return [message.node_id for message in messages if message.kind_name() == "node.execute"]


async def test_another_process_replays_the_same_state(database):
    journal, command = Journal(database), start()
    await handle(journal, command, answer(command, "ask0"))
    await handle(journal, answer(command, "ask1"))
    assert await state_of(Journal(database), command) == await state_of(journal, command)


async def test_it_counts_the_jobs_in_flight_of_the_runs_that_it_knows(database, monkeypatch):
    monkeypatch.setattr(journal_module, "MAX_KNOWN", 2)
    journal, commands = Journal(database), [start(), start(), start()]
    await handle(journal, commands[0])
    assert journal.in_flight == WIDE
    await handle(journal, answer(commands[0], "ask0"))
    await handle(journal, commands[1])
    assert journal.in_flight == 2 * WIDE - 1
    await handle(journal, commands[2])  # the first is forgotten
    assert journal.in_flight == 2 * WIDE
    await handle(journal, *(RunCancel(run_id=command.run_id) for command in commands))
    assert journal.in_flight == 0


async def test_it_knows_nothing_of_a_run_any_more_that_another_process_ended(database):
    journal, commands = Journal(database), [start(), start()]
    await handle(journal, *commands)
    await handle(Journal(database), RunCancel(run_id=commands[0].run_id))
    assert journal.in_flight == 2 * WIDE
    assert await journal.unfinished() == [commands[1].run_id]
    assert journal.in_flight == WIDE


async def test_a_batch_that_fails_leaves_nothing_behind(database):
    journal, command = Journal(database), start()
    await handle(journal, command)
    with suppress(ZeroDivisionError):
        async with journal.lock([command.run_id]) as locked:
            run = locked.runs[command.run_id]
            intake = take_in(run.state, answer(command, "ask0"), now=NOW)
            assert intake.event
            run.advance(intake.state, intake.event)
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


async def test_what_is_known_is_not_written_over_what_others_wrote_first(database):
    journal, other, command = Journal(database), Journal(database), start()
    await handle(journal, command)
    stale = journal.recall([command.run_id])
    assert stale
    await handle(other, answer(command, "ask0"))
    message = answer(command, "ask1")
    stale[command.run_id].advance(evolve(stale[command.run_id].state, message), message)
    assert not await journal.write(stale)
    assert journal.recall([command.run_id]) is None
    await handle(journal, message)
    assert await state_of(Journal(database), command) == await state_of(journal, command)


async def test_a_start_that_is_refused_is_not_written_from_memory(database):
    first, same = (start(trigger_run_id="order-19") for _ in range(2))
    await handle(Journal(database), first)
    journal = Journal(database)
    runs = journal.recall([same.run_id], [same])
    accepted = take_in(None, same, now=NOW)
    assert runs
    assert accepted.event
    runs[same.run_id].advance(accepted.state, accepted.event)
    assert not await journal.write(runs, [same])
    async with journal.lock([same.run_id]) as locked:
        assert locked.runs == {}


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
    await journal.prune(timedelta(0), LONG)
    assert await state_of(Journal(database), command) is not None
    await handle(journal, answer(command, "join"))
    await journal.prune(timedelta(hours=1), LONG)
    assert await state_of(Journal(database), command) is not None
    await journal.prune(timedelta(0), LONG)
    async with Journal(database).lock([command.run_id], [command]) as locked:
        assert locked.runs[command.run_id].pruned
    await journal.prune(timedelta(0), timedelta(0))
    async with Journal(database).lock([command.run_id]) as locked:
        assert locked.runs == {}


async def test_pruning_goes_on_until_nothing_is_left(database, monkeypatch):
    monkeypatch.setattr(journal_module, "PRUNED_AT_ONCE", 1)
    journal, commands = Journal(database), [start() for _ in range(3)]
    for command in commands:
        await handle(journal, command, *(answer(command, f"ask{n}") for n in range(WIDE)), answer(command, "join"))
    await journal.prune(timedelta(0), timedelta(0))
    async with Journal(database).lock([command.run_id for command in commands]) as locked:
        assert locked.runs == {}


@pytest.mark.usefixtures("empty_tables")
async def test_unknown_runs_are_not_there(database):
    async with Journal(database).lock([uuid4()]) as locked:
        assert locked.runs == {}


async def test_a_trigger_id_belongs_to_the_run_that_used_it_first(database):
    first, same, other = (start(trigger_run_id="order-17") for _ in range(3))
    other = other.model_copy(update={"inputs": {"ask0": TextValue(text="?")}})
    await handle(Journal(database), first)
    (refused, conflict) = await handle(Journal(database), same, other)
    assert (refused.problem.code, refused.existing_run_id) == ("already_started", first.run_id)
    assert (conflict.problem.code, conflict.existing_run_id) == ("trigger_conflict", first.run_id)
    assert jobs(await handle(Journal(database), first)) != []


async def test_of_many_starts_with_one_trigger_id_at_once_one_begins(database):
    starts = [start(trigger_run_id="order-18") for _ in range(9)]
    published = await asyncio.gather(*(handle(Journal(database), *starts[n::3]) for n in range(3)))
    assert sum(message.kind_name() == "run.started" for messages in published for message in messages) == 1


async def test_no_more_runs_with_a_key_begin_than_their_limit_allows_and_in_order(database):
    admission, journal = Admission(database), Journal(database)
    limit = RunOptions(concurrency=Concurrency(key="gpu", limit=2))
    runs = [start(options=limit) for _ in range(5)]
    for run in runs:
        await handle(journal, run)
    admitted = await asyncio.gather(*(admission.admit(["gpu"]) for _ in range(4)))
    assert {run_id for ids in admitted for run_id in ids} == {run.run_id for run in runs[:2]}
    assert await admission.place(runs[4].run_id) == 3
    assert await admission.waited_for() == ["gpu"]
    decisions = await take_in_batch(journal, [RunCancel(run_id=runs[0].run_id)], now=NOW)
    assert decisions.freed == {"gpu"}
    assert await admission.admit(decisions.freed) == [runs[2].run_id]


REUSING = WorkflowGraph(
    nodes=(Node(id="say", type="text"), Node(id="ask", type="llm", cache=True, params=NAMED)), edges=ONE
)


async def test_an_output_is_reused_by_another_run_of_another_orchestrator(database):
    first, second, third = (RunStart(run_id=uuid4(), graph=REUSING) for _ in range(3))
    third = third.model_copy(update={"options": RunOptions(use_cache=False)})
    assert jobs(await handle(Journal(database), first)) == ["ask"]
    await handle(Journal(database), answer(first, "ask"))
    published = await handle(Journal(database), second)
    assert [message.kind_name() for message in published] == ["run.started", "run.finished"]
    assert published[1].cached_nodes == 1
    assert await handle(Journal(database), second) == published
    assert jobs(await handle(Journal(database), third)) == ["ask"]


@pytest.mark.parametrize(("age", "size"), [(timedelta(0), 10**9), (LONG, 0)])
async def test_the_cache_has_limits_of_age_and_size(database, age, size):
    first, second = (RunStart(run_id=uuid4(), graph=REUSING) for _ in range(2))
    await handle(Journal(database), first)
    await handle(Journal(database), answer(first, "ask"))
    await cache.evict(database, max_age=LONG, max_bytes=10**9)
    assert jobs(await handle(Journal(database), second)) == []
    await cache.evict(database, max_age=age, max_bytes=size)
    assert jobs(await handle(Journal(database), start().model_copy(update={"graph": REUSING}))) == ["ask"]
