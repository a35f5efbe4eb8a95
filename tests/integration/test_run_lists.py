"""Lists of runs and statistics, from a real PostgreSQL."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from tests.unit.histories import LIMITED, REFUSED, WORKFLOW_ID, at

from run_tracker.handlers import EventHandler
from run_tracker.repository import RunRepository
from run_tracker.run_lists import SHOWN_PROBLEMS, RunLists
from shared.contracts.commands import RunStart
from shared.contracts.errors import Problem
from shared.contracts.events import NodeFailed, NodeSummary, RunFinished, RunStarted
from shared.contracts.graph import Node, WorkflowGraph
from shared.contracts.history import GetStatistics, ListRuns
from shared.contracts.states import NodeStatus, RunStatus

GRAPH = WorkflowGraph(nodes=(Node(id="n", type="llm"),))
DAY = 86_400


@pytest.fixture
def lists(database):
    return RunLists(database)


@pytest.fixture
def record(database):
    return EventHandler(RunRepository(database)).record


def started(number, created, *, workflow_id=WORKFLOW_ID, **wishes):
    run_id = UUID(int=number)
    command = RunStart(run_id=run_id, graph=GRAPH, **wishes)
    node = NodeSummary(node_id="n", node_type="llm", status=NodeStatus.PENDING)
    return RunStarted(run_id=run_id, at=at(created), workflow_id=workflow_id, command=command, nodes=(node,))


def finished(number, ended, status=RunStatus.COMPLETED, *, cost=0.0, problems=()):
    return RunFinished(
        run_id=UUID(int=number),
        at=at(ended),
        status=status,
        total_nodes=1,
        successful_nodes=int(status is RunStatus.COMPLETED),
        failed_nodes=int(status is RunStatus.FAILED),
        tokens=10,
        cost=cost,
        problems=problems,
    )


def node_failed(number, error):
    return NodeFailed(run_id=UUID(int=number), node_id="n", node_type="llm", at=at(number), error=error)


async def numbers(lists, **wishes):
    return [run.run_id.int for run in (await lists.page(ListRuns(**wishes))).runs]


async def test_runs_are_listed_newest_first_by_workflow_and_limited(lists, record):
    await record([started(1, 10), started(2, 30, workflow_id=uuid4()), started(3, 20)])
    assert await numbers(lists) == [2, 3, 1]
    assert await numbers(lists, workflow_id=WORKFLOW_ID) == [3, 1]
    assert await numbers(lists, limit=1) == [2]


async def test_a_run_whose_beginning_is_not_known_yet_is_listed_once_it_is(lists, record):
    await record([finished(1, 50)])
    assert await numbers(lists) == []
    await record([started(1, 10)])
    assert await numbers(lists) == [1]


async def test_nodes_results_and_many_problems_are_not_listed(lists, record):
    problems = tuple(Problem(code=f"p{number}", message="?") for number in range(SHOWN_PROBLEMS + 5))
    await record([started(1, 10), finished(1, 50, RunStatus.FAILED, problems=problems)])
    (run,) = (await lists.page(ListRuns())).runs
    assert (run.nodes, run.result, run.problems) == (None, None, problems[:SHOWN_PROBLEMS])


async def test_pages_hold_each_run_once_whatever_begins_meanwhile(lists, record):
    await record([started(number, number // 3) for number in range(1, 12)])
    seen, query = [], ListRuns(limit=4)
    while query:
        page = await lists.page(query)
        seen += [run.run_id.int for run in page.runs]
        await record([started(100 + len(seen), 500)])
        query = page.next and query.model_copy(update={"after": page.next})
    assert seen == list(range(11, 0, -1))


async def test_the_last_page_says_that_it_is_the_last(lists, record):
    await record([started(number, number) for number in range(1, 5)])
    page = await lists.page(ListRuns(limit=2))
    assert page.next
    assert (await lists.page(ListRuns(limit=2, after=page.next))).next is None


@pytest.fixture
async def five_runs(record):
    """One that was completed, one that failed, one partial, one cancelled, one that goes on."""
    await record(
        [
            *(started(1, 10, tags=("shop", "night")), finished(1, 11, cost=0.5)),
            *(started(2, 20, tags=("shop",)), node_failed(2, REFUSED), finished(2, 22, RunStatus.FAILED, cost=0.1)),
            *(started(3, 30), node_failed(3, LIMITED), finished(3, 34, RunStatus.PARTIAL, cost=1.5)),
            *(started(4, 40), finished(4, 50, RunStatus.CANCELLED)),
            started(5, 50, tags=("100%",)),
        ]
    )


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ({"status": ["failed"]}, [2]),
        ({"status": ["running", "partial"]}, [5, 3]),
        ({"tag": ["shop"]}, [2, 1]),
        ({"tag": ["shop", "night"]}, [1]),
        ({"tag": ["sho"]}, []),
        ({"since": at(20), "until": at(40)}, [3, 2]),
        ({"min_cost": 0.5}, [3, 1]),
        ({"max_cost": 0.5}, [4, 2, 1]),
        ({"min_cost": 0.1, "max_cost": 0.5}, [2, 1]),
        ({"error": "SLOW down"}, [3]),
        ({"error": "llm_refused"}, [2]),
        ({"error": "llm_"}, [3, 2]),
        ({"error": "llm%"}, []),
        ({"error": "llm_", "status": ["failed"], "tag": ["shop"], "workflow_id": WORKFLOW_ID}, [2]),
    ],
)
async def test_a_list_holds_what_meets_all_that_was_asked_for(lists, five_runs, wishes, expected):
    assert await numbers(lists, **wishes) == expected


async def test_problems_that_kept_a_run_from_starting_are_errors_as_well(lists, record):
    cycle = Problem(code="cycle", message="a waits for b")
    await record([started(1, 10), finished(1, 11, RunStatus.FAILED, problems=(cycle,))])
    assert await numbers(lists, error="waits for") == [1]


async def test_statistics_tell_how_runs_went_in_all_and_by_day(lists, five_runs, record):
    await record([started(6, DAY + 5), finished(6, DAY + 8, cost=2.0), started(7, 3, workflow_id=uuid4())])
    reply = await lists.statistics(GetStatistics(workflow_id=WORKFLOW_ID, since=at(0), until=at(2 * DAY)))
    total = reply.total
    assert (total.runs, total.completed, total.partial, total.failed, total.cancelled) == (6, 2, 1, 1, 1)
    assert (total.failure_rate, total.p50_seconds, total.tokens) == (0.5, 3.0, 50)
    assert total.p95_seconds == pytest.approx(8.8)
    assert total.cost == pytest.approx(4.1)
    first, second = reply.days
    assert (first.day, first.runs, second.day, second.runs) == (at(0).date(), 5, at(DAY).date(), 1)
    assert (second.p50_seconds, second.failure_rate, second.cost) == (3.0, 0.0, 2.0)


async def test_statistics_of_no_runs_are_empty(lists):
    now = datetime.now(UTC)
    reply = await lists.statistics(GetStatistics(workflow_id=uuid4(), since=now - timedelta(days=1), until=now))
    assert (reply.total.runs, reply.total.failure_rate, reply.total.p50_seconds, reply.days) == (0, None, None, ())


async def test_owners_see_their_own_runs_only(lists, record):
    await record([started(1, 10, owner="ann"), finished(1, 11), started(2, 20, owner="bob"), started(3, 30)])
    assert await numbers(lists, owner="ann") == [1]
    query = GetStatistics(workflow_id=WORKFLOW_ID, owner="ann", since=at(0), until=at(DAY))
    assert (await lists.statistics(query)).total.runs == 1
