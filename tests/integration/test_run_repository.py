"""Run history in a real PostgreSQL: the tables follow the same rules as the records."""

import asyncio
import random
from uuid import uuid4

import pytest
from pydantic import JsonValue
from tests.unit.histories import (
    COMMAND,
    EVENTS,
    FINISHED,
    OLD_RUN_ID,
    RUN_ID,
    STARTED,
    VIEWS,
    WORKFLOW_ID,
    at,
    begun,
    late,
    succeeded,
)

from run_tracker import repository as statements
from run_tracker.handlers import EventHandler
from run_tracker.repository import PAGE_BYTES, RunRepository
from run_tracker.run_lists import list_statement
from shared.contracts.commands import RunStart
from shared.contracts.cursors import RunCursor
from shared.contracts.events import NodeSummary, RunFinished, RunStarted
from shared.contracts.graph import Node, WorkflowGraph
from shared.contracts.history import ListRuns
from shared.contracts.run_options import Scope
from shared.contracts.states import NodeStatus, RunStatus
from shared.contracts.values import RecordValue, TextValue
from shared.messaging.publisher import MAX_MESSAGE_BYTES


@pytest.fixture
def repository(database):
    return RunRepository(database)


async def record(repository, *batches):
    handler = EventHandler(repository)
    for batch in batches:
        await handler.record(batch)
    return await repository.get(RUN_ID)


def shuffled(seed):
    """All events three times in any order, in batches of any size."""
    chance = random.Random(seed)
    events = list(EVENTS * 3)
    chance.shuffle(events)
    size = chance.choice([1, 2, 5, 20, 100])
    return [events[start : start + size] for start in range(0, len(events), size)]


async def test_events_one_by_one_make_a_run_with_its_nodes_in_order(repository):
    run = await record(repository, *([event] for event in EVENTS))
    assert (run.status, run.created_at, run.finished_at) == (RunStatus.CANCELLED, at(0), at(60))
    assert (run.total_nodes, run.successful_nodes, run.failed_nodes) == (15, 9, 2)
    assert (run.skipped_nodes, run.cancelled_nodes, run.cached_nodes) == (1, 3, 3)
    assert (run.tokens, run.cost) == (90, 0.06)
    assert (run.resumed_from, run.scope) == (OLD_RUN_ID, Scope.SELECTED)
    assert run.nodes == VIEWS


@pytest.mark.parametrize("seed", range(10))
async def test_any_order_repetition_and_batching_gives_the_same(repository, seed):
    run = await record(repository, *shuffled(seed))
    assert run.nodes == VIEWS
    assert (run.tags, run.metadata) == (COMMAND.tags, COMMAND.metadata)
    assert (run.status, run.created_at, run.finished_at, run.tokens) == (RunStatus.CANCELLED, at(0), at(60), 90)
    assert await repository.command(RUN_ID) == COMMAND


async def test_replicas_at_the_same_time_give_the_same(repository):
    handler = EventHandler(repository)
    await asyncio.gather(*(handler.record(batch) for seed in range(4) for batch in shuffled(seed)))
    assert (await repository.get(RUN_ID)).nodes == VIEWS


async def test_a_final_state_in_the_table_is_never_taken_back(repository):
    run = await record(repository, [FINISHED], *([event] for event in EVENTS[:-1]))
    assert run.status is RunStatus.CANCELLED
    assert {node.node_id: node.status for node in run.nodes} == FINISHED.nodes


async def node_after(repository, *batches):
    """What is known of the node `open` after batches of events about it."""
    run = await record(repository, [STARTED], *batches)
    return next(node for node in run.nodes if node.node_id == "open")


@pytest.mark.parametrize("order", [1, -1])
async def test_two_results_of_one_attempt_are_never_mixed(repository, order):
    results = [[succeeded("open", 3.5, "first")], [succeeded("open", 4.25, "second")]]
    node = await node_after(repository, *results[::order])
    assert (node.output.text, node.finished_at) == ("first", at(3.5))


@pytest.mark.parametrize("order", [1, -1])
async def test_of_two_starts_the_latest_is_shown(repository, order):
    starts = [[begun("open", 1, worker="host:1")[1]], [begun("open", 5, worker="host:2")[1]]]
    node = await node_after(repository, *starts[::order])
    assert (node.started_at, node.worker) == (at(6), "host:2")


async def test_every_late_result_is_kept_once(repository):
    lates = [late("open", 5), late("open", 6, NodeStatus.FAILED), late("open", 9, attempt=2)]
    node = await node_after(repository, lates, lates, lates[:1])
    assert [(late.attempt, late.at, late.outcome) for late in node.late] == [
        (1, at(5), NodeStatus.SUCCESS),
        (1, at(6), NodeStatus.FAILED),
        (2, at(9), NodeStatus.SUCCESS),
    ]


def large_run(texts, result=None):
    """A run whose nodes have these outputs, all told at its end."""
    summaries = tuple(
        NodeSummary(node_id=f"n{number}", node_type="llm", status=NodeStatus.SUCCESS, output=TextValue(text=text))
        for number, text in enumerate(texts)
    )
    yield STARTED.model_copy(update={"nodes": summaries})
    yield FINISHED.model_copy(update={"nodes": {}, "result": result and RecordValue(fields={"r": result})})


async def pages_of(repository):
    pages = [await repository.page(RUN_ID)]
    while pages[-1].next:
        pages.append(await repository.page(RUN_ID, after=pages[-1].next))
    return pages


async def test_a_run_of_many_nodes_is_told_in_pages_and_whole(repository):
    run = await record(repository, list(large_run(["x"] * 2_500)))
    assert [node.node_id for node in run.nodes] == [f"n{number}" for number in range(2_500)]
    pages = await pages_of(repository)
    assert [len(page.run.nodes) for page in pages] == [1_000, 1_000, 500]
    assert [node for page in pages for node in page.run.nodes] == list(run.nodes)


async def test_a_page_ends_before_it_is_too_large_for_the_broker(repository):
    quarter = "x" * (PAGE_BYTES // 4)
    texts = [quarter] * 9 + [quarter * 8, "small"]
    result = TextValue(text=quarter * 8)
    run = await record(repository, *([event] for event in large_run(texts, result)))
    assert [node.output.text for node in run.nodes] == texts
    assert run.result.fields["r"] == result
    pages = await pages_of(repository)
    assert [page.run.result is not None for page in pages] == [True] + [False] * (len(pages) - 1)
    assert pages[0].run.nodes == ()
    assert all(len(page.to_json()) < MAX_MESSAGE_BYTES for page in pages)


async def test_nodes_are_told_of_whose_place_is_not_known_yet(repository):
    await record(repository, [FINISHED], [succeeded("open", 3, "early")])
    assert {node.node_id for node in (await repository.get(RUN_ID)).nodes} == {*FINISHED.nodes, "open"}


async def test_a_run_is_found_by_what_its_caller_called_it(repository):
    await record(repository, [STARTED.model_copy(update={"trigger_run_id": "order/17"})], EVENTS[2:])
    assert (await repository.find("order/17")).run.run_id == RUN_ID
    assert (await repository.find("order/18")).run is None
    assert (await repository.find("order/17", "somebody")).run is None


async def test_an_unknown_run_is_none(repository):
    assert await repository.get(uuid4()) is None
    assert await repository.command(uuid4()) is None


async def test_a_run_is_known_before_anybody_told_how_it_was_asked_for(repository):
    await record(repository, [FINISHED])
    assert await repository.command(RUN_ID) is None


async def test_a_large_command_is_kept_as_it_is(repository):
    params: dict[str, JsonValue] = {
        "userMessage": "ä" * 1_000_000,
        "nothing": None,
        "zero\\u0000": [1, 2.5, {"deep": None}],
    }
    graph = WorkflowGraph(nodes=tuple(Node(id=f"n{number}", type="llm", params=params) for number in range(2)))
    command = RunStart(run_id=RUN_ID, graph=graph, inputs={"n1": TextValue(text="with a \\u0000")})
    await record(repository, [STARTED.model_copy(update={"command": command})], EVENTS[3:])
    assert await repository.command(RUN_ID) == command


async def test_a_nul_is_replaced(repository):
    node = await node_after(repository, [succeeded("open", 3, "a\0b")])
    assert node.output.text == "a\ufffdb"


def run_of(workflow_id, seconds, **outputs):
    """A run of a workflow that started at a time; its nodes have these outputs, or failed."""
    run_id = uuid4()
    summaries = [
        NodeSummary(node_id=node_id, node_type="llm", status=NodeStatus.PENDING, name=text)
        for node_id, text in outputs.items()
    ]
    yield RunStarted(run_id=run_id, at=at(seconds), workflow_id=workflow_id, nodes=tuple(summaries))
    for node_id, text in outputs.items():
        yield succeeded(node_id, seconds + 1, text or "too late").model_copy(
            update={"run_id": run_id, "cached": text == "cached"}
        )
    nodes = {node_id: NodeStatus.SUCCESS if text else NodeStatus.FAILED for node_id, text in outputs.items()}
    yield RunFinished(
        run_id=run_id,
        at=at(seconds + 2),
        status=RunStatus.PARTIAL,
        total_nodes=len(nodes),
        successful_nodes=1,
        failed_nodes=1,
        nodes=nodes,
    )


async def test_the_newest_output_of_each_node_is_found_in_any_run_of_the_workflow(repository):
    runs = [
        run_of(WORKFLOW_ID, 300, a=None, b="newest b", d="d"),
        run_of(WORKFLOW_ID, 200, a="newest a", c="cached"),
        run_of(WORKFLOW_ID, 100, a="old a", b="old b", never=None),
        run_of(uuid4(), 400, a="of another workflow", never="of another workflow"),
        run_of(None, 500, a="of no workflow"),
    ]
    await record(repository, *(list(run) for run in runs))
    outputs = (await repository.outputs(WORKFLOW_ID, ["a", "b", "c", "never", "unknown", "a"])).outputs
    assert {node_id: output.text for node_id, output in outputs.items()} == {
        "a": "newest a",
        "b": "newest b",
        "c": "cached",
    }


async def test_an_output_of_a_run_that_goes_on_is_found(repository):
    started, success, _ = run_of(WORKFLOW_ID, 100, a="early")
    await record(repository, [success], [started])
    assert (await repository.outputs(WORKFLOW_ID, ["a"])).outputs["a"].text == "early"


async def test_outputs_that_are_too_large_together_are_left_to_be_asked_for_again(repository):
    text = "x" * (PAGE_BYTES // 2)
    await record(repository, *([event] for event in run_of(WORKFLOW_ID, 100, a=text, b=text, c=text, d=None)))
    found, left = {}, ("d", "c", "b", "a")
    while left:
        reply = await repository.outputs(WORKFLOW_ID, left)
        assert reply.outputs or not reply.left
        assert len(reply.to_json()) < MAX_MESSAGE_BYTES
        found, left = found | reply.outputs, reply.left
    assert {name: output.text for name, output in found.items()} == dict.fromkeys("abc", text)


LISTS = [
    (ListRuns(), "_created_at_run_id_idx"),
    (ListRuns(workflow_id=WORKFLOW_ID), "workflow_id_created_at_run_id_idx"),
    (ListRuns(workflow_id=WORKFLOW_ID, after=RunCursor(created_at=at(1), run_id=RUN_ID)), "Index Cond: ((workflow_id"),
    (ListRuns(workflow_id=WORKFLOW_ID, status=(RunStatus.FAILED,)), "workflow_id_created_at_run_id_idx1"),
    (ListRuns(status=(RunStatus.FAILED, RunStatus.RUNNING)), "_created_at_run_id_idx1"),
]


async def test_outputs_and_lists_are_read_from_indexes(repository, database):
    await record(repository, EVENTS)
    plans = [
        (statements.FIND_OUTPUTS, [WORKFLOW_ID, ["a"], None], "workflow_id_node_id_run_created_at"),
        (statements.FIND_RUN, ["order", None], "trigger_run_id_idx"),
        *((*list_statement(query), index) for query, index in LISTS),
    ]
    async with database.transaction() as connection:
        await connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        for statement, values, index in plans:
            plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {statement}", *values))
            assert index in plan, plan
