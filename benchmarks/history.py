"""`python -m benchmarks.history`: how fast a large history answers: 1,000,000 runs, 8,000,000 nodes, half a year.

A PostgreSQL of its own, the tracker's own code. Exit codes as those of `benchmarks.run`; 69 also where the disk is
too full for the data, about 15 GB per million runs while they are made.
"""

import asyncio
import random
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

import asyncpg

from benchmarks.command import head_of_report, new_parser, positive, run_command, say
from benchmarks.history_data import NODES, OWNERS, RARE, WEEKS, WORKFLOWS, make_history
from benchmarks.measures import percentile, to_table
from benchmarks.plans import condense
from run_tracker import repository
from run_tracker.handlers import EventHandler
from run_tracker.partitions import Partitions
from run_tracker.repository import RunRepository
from run_tracker.run_lists import RunLists, list_statement
from shared.contracts.cursors import RunCursor
from shared.contracts.errors import unavailable
from shared.contracts.events import (
    AnyEvent,
    NodeQueued,
    NodeStarted,
    NodeSucceeded,
    NodeSummary,
    RunFinished,
    RunStarted,
)
from shared.contracts.history import GetStatistics, ListRuns
from shared.contracts.states import NodeStatus, RunStatus
from shared.contracts.values import TextValue
from shared.database import Database, connect_database
from shared.embedded.stack import EmbeddedStack
from shared.migrations import migrate

BYTES_PER_RUN = 15_000
LARGEST = UUID(int=0)  # the workflow that a fifth of all runs belong to
FAILED = (RunStatus.FAILED, RunStatus.PARTIAL)
MERGED_RUNS, BATCH = 2_000, 200
PATIENCE = 60.0

Query = Callable[[], Awaitable[object]]


class Pick(NamedTuple):
    """A run that was picked at random."""

    run_id: UUID
    workflow_id: UUID
    trigger_id: str
    created_at: datetime

    def cursor(self) -> RunCursor:
        """Return where the page begins that follows this run."""
        return RunCursor(created_at=self.created_at, run_id=self.run_id)

    def rare_tag(self) -> str:
        """Return the tag that it has in common with no more than 1,000 runs."""
        return f"batch-{int(self.trigger_id.removeprefix('order-')) // 1000}"


@dataclass(frozen=True, slots=True)
class Question:
    """What is measured: its name, and how it is asked, each time about another run; one that is slow, not so often."""

    name: str
    ask: Query
    is_slow: bool = False


class Questions:
    """All that is asked of a history, about the runs that were picked."""

    def __init__(self, database: Database, picks: Sequence[Pick]) -> None:
        self._lists, self._runs, self._now = RunLists(database), RunRepository(database), datetime.now(UTC)
        self._picks = picks

    def all(self) -> Sequence[Question]:
        """Return them in the order of the report."""
        return [*self._pages(), *self._filters(), *self._searches(), *self._single_runs(), *self._statistics()]

    def _pages(self) -> Iterator[Question]:
        page, pick = self._page, self._pick
        yield Question("a page of a workflow's runs", lambda: page(workflow_id=pick().workflow_id))
        yield Question(
            "a later page of a workflow's runs", lambda: page(workflow_id=pick().workflow_id, after=pick().cursor())
        )
        yield Question("a page of all runs", page)
        yield Question("a later page of all runs", lambda: page(after=pick().cursor()))

    def _filters(self) -> Iterator[Question]:
        page, pick = self._page, self._pick
        yield Question("a page of an owner's runs", lambda: page(owner=f"owner{random.randrange(OWNERS)}"))
        yield Question("a workflow's failed runs", lambda: page(workflow_id=pick().workflow_id, status=FAILED))
        yield Question(
            "a workflow's runs with a rare tag", lambda: page(workflow_id=pick().workflow_id, tag=(pick().rare_tag(),))
        )
        yield Question(
            "a workflow's runs of a day, cost 0.09 at least",
            lambda: page(
                workflow_id=pick().workflow_id,
                since=(began := pick().created_at),
                until=began + timedelta(days=1),
                min_cost=0.09,
            ),
        )

    def _searches(self) -> Iterator[Question]:
        page, pick = self._page, self._pick
        yield Question(
            "a workflow's runs with a common text in errors",
            lambda: page(workflow_id=pick().workflow_id, error="said no"),
        )
        yield Question(
            "the largest workflow's runs with a text that no error has",
            lambda: page(workflow_id=LARGEST, error="??"),
            is_slow=True,
        )
        yield Question("all runs with a rare text in errors", lambda: page(error=RARE), is_slow=True)

    def _single_runs(self) -> Iterator[Question]:
        runs, pick = self._runs, self._pick
        nodes = [f"node_{number}" for number in range(NODES)]
        yield Question("a run with its nodes", lambda: runs.get(pick().run_id))
        yield Question("a run by its trigger id", lambda: runs.find(pick().trigger_id))
        yield Question("newest outputs of a workflow's nodes", lambda: runs.outputs(pick().workflow_id, nodes))

    def _statistics(self) -> Iterator[Question]:
        pick, ask = self._pick, self._ask_statistics
        yield Question("statistics of a workflow, 30 days", lambda: ask(pick().workflow_id, 30))
        yield Question("statistics of the largest workflow, half a year", lambda: ask(LARGEST, 7 * WEEKS), is_slow=True)

    def _pick(self) -> Pick:
        return random.choice(self._picks)

    def _page(self, **wishes: object) -> Awaitable[object]:
        return self._lists.page(ListRuns.model_validate(wishes, by_name=True))

    def _ask_statistics(self, workflow_id: UUID, days: int) -> Awaitable[object]:
        since = self._now - timedelta(days=days)
        return self._lists.statistics(GetStatistics(workflow_id=workflow_id, since=since, until=self._now))


async def _measured(questions: Sequence[Question], times: int) -> list[list[str]]:
    rows: list[list[str]] = []
    for question in questions:
        await question.ask()
        count = max(times // 20, 3) if question.is_slow else times
        taken = [await _milliseconds(question.ask) for _ in range(count)]
        rows.append([question.name, *(f"{percentile(taken, percent):.1f}" for percent in (50, 95, 100)), str(count)])
        say(" | ".join(rows[-1]))
    return rows


async def _milliseconds(query: Query) -> float:
    started = time.perf_counter()
    await query()
    return (time.perf_counter() - started) * 1000


def _events_of_run() -> list[AnyEvent]:
    """Return what is told of a run of eight nodes in a row, in order."""
    run_id, at = uuid4(), datetime.now(UTC)
    nodes = [f"node_{number}" for number in range(NODES)]
    summaries = tuple(NodeSummary(node_id=name, node_type="llm", status=NodeStatus.PENDING) for name in nodes)
    events: list[AnyEvent] = [RunStarted(run_id=run_id, at=at, workflow_id=LARGEST, nodes=summaries)]
    for name in nodes:
        about = {"run_id": run_id, "node_id": name, "node_type": "llm", "at": at}
        events.append(NodeQueued.model_validate(about, by_name=True))
        events.append(NodeStarted.model_validate({**about, "worker": "host:1"}, by_name=True))
        events.append(NodeSucceeded.model_validate({**about, "output": TextValue(text="an answer")}, by_name=True))
    counts = {"total_nodes": NODES, "successful_nodes": NODES, "failed_nodes": 0, "status": RunStatus.COMPLETED}
    final = dict.fromkeys(nodes, NodeStatus.SUCCESS)
    return [*events, RunFinished.model_validate({"run_id": run_id, "at": at, "nodes": final, **counts}, by_name=True)]


async def _merge_rate(database: Database) -> float:
    """Return how many events a second are merged, in batches of such sizes as come under load."""
    handler = EventHandler(RunRepository(database))
    runs = [_events_of_run() for _ in range(MERGED_RUNS)]
    # Twenty runs at a time are under way, so that a batch is about many of them.
    groups = [runs[start : start + 20] for start in range(0, len(runs), 20)]
    events = [event for group in groups for step in zip(*group, strict=True) for event in step]
    started = time.perf_counter()
    for start in range(0, len(events), BATCH):
        await handler.record(events[start : start + BATCH])
    return len(events) / (time.perf_counter() - started)


async def _plans(connection: "asyncpg.Connection[asyncpg.Record]", picks: Sequence[Pick]) -> str:
    """Return the plans of the statements that matter, as they were executed."""
    run_id, workflow_id, trigger_id, _ = picks[0]
    after = picks[0].cursor()
    statements = {
        "a page of a workflow's runs": list_statement(ListRuns(workflow_id=workflow_id)),
        "a later page of a workflow's runs": list_statement(ListRuns(workflow_id=workflow_id, after=after)),
        "a workflow's failed runs": list_statement(ListRuns(workflow_id=workflow_id, status=FAILED)),
        "the nodes of a run": (repository.GET_NODES, [run_id, None, None, 1_000]),
        "a run by its trigger id": (repository.FIND_RUN, [trigger_id, None]),
        "the newest outputs of two nodes": (repository.FIND_OUTPUTS, [workflow_id, ["node_1", "node_2"], None]),
    }
    parts: list[str] = []
    for name, (statement, values) in statements.items():
        rows = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) {statement}", *values)
        plan = condense([str(row[0]) for row in rows])
        parts.append(f"## {name[0].upper()}{name[1:]}\n\n```\n{plan}\n```\n")
    return "\n".join(parts)


async def _measure(url: str, runs: int, times: int) -> tuple[str, str]:
    """Return the report and the plans."""
    connection = await asyncpg.connect(url, timeout=PATIENCE)
    async with connect_database(url, name="benchmark", patience=PATIENCE, schema="run_tracker") as database:
        empty = await _merge_rate(database)
        await connection.execute("TRUNCATE run_tracker.run_week, run_tracker.workflow_run")
        await connection.execute("TRUNCATE run_tracker.node_execution, run_tracker.node_attempt")
        started = time.perf_counter()
        await make_history(connection, runs)
        made = time.perf_counter() - started
        size = await connection.fetchval("SELECT pg_database_size(current_database()) / 1e9::float8")
        say(f"made {runs:,} runs in {made:.0f} s, {size:.1f} GB")
        picks = [Pick(*row) for row in await connection.fetch(_PICK)]
        rows = await _measured(Questions(database, picks).all(), times)
        plans = await _plans(connection, picks)
        full = await _merge_rate(database)
        pruned = await _pruned(database)
    await connection.close()
    merges = f"Events merged per second: {empty:,.0f} into empty tables, {full:,.0f} into these."
    facts = f"{runs:,} runs, {runs * NODES:,} nodes, {WORKFLOWS} workflows, {WEEKS} weeks; {size:.1f} GB."
    table = to_table(["", "p50 ms", "p95 ms", "longest", "times"], rows)
    return "\n".join([facts, "", *table, "", merges, "", pruned, ""]), plans


async def _pruned(database: Database) -> str:
    started = time.perf_counter()
    reply = await Partitions(database).prune(120)
    took, runs = time.perf_counter() - started, sum(week.runs for week in reply.dropped)
    return f"Dropping the {len(reply.dropped)} weeks older than 120 days ({runs:,} runs) took {took:.1f} s."


_PICK = """
SELECT run_id, workflow_id, trigger_run_id, created_at FROM run_tracker.workflow_run TABLESAMPLE SYSTEM (1)
ORDER BY random() LIMIT 2000
"""


def _make_and_measure(_resources: ExitStack, folder: Path, *, runs: int, times: int, plans_file: Path | None) -> str:
    _check_space(folder, runs * BYTES_PER_RUN)
    with EmbeddedStack(folder / "stack", rabbitmq=False) as urls:
        assert urls.database_url
        migrate(urls.database_url, patience=PATIENCE)
        report, plans = asyncio.run(_measure(urls.database_url, runs, times))
    if plans_file:
        plans_file.write_text(f"# Plans of the run tracker's queries\n\n{_ABOUT_PLANS}\n\n{plans}")
    return report


def _check_space(folder: Path, needed: int) -> None:
    """Raise UnavailableError `disk_full` where the data would find no room."""
    if shutil.disk_usage(folder).free < needed:
        raise unavailable(
            "disk_full",
            f"the data need {needed / 1e9:.0f} GB",
            where=str(folder),
            fix="name a folder on a larger disk with --folder",
        )


_ABOUT_PLANS = """\
As PostgreSQL carried them out on the data of `python -m benchmarks.history`, which writes this file. Of scans of many
partitions side by side, a few are shown."""


def main() -> int:
    """Make the history, measure, print the report."""
    parser = new_parser("history", __doc__)
    parser.add_argument("--runs", type=positive, default=1_000_000, help="how many runs (default 1,000,000)")
    parser.add_argument("--times", type=positive, default=200, help="how often each is asked (default 200)")
    parser.add_argument("--folder", type=Path, help="where the data are made meanwhile (default: the system's)")
    parser.add_argument("--plans", type=Path, help="write the plans to this file")
    options = parser.parse_args()
    measure = partial(_make_and_measure, runs=options.runs, times=options.times, plans_file=options.plans)
    return run_command(measure, head=head_of_report("history"), output=options.output, parent=options.folder)


if __name__ == "__main__":
    sys.exit(main())
