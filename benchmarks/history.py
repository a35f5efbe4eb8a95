"""`python -m benchmarks.history`: how fast a large history answers: 1,000,000 runs, 8,000,000 nodes, half a year.

A PostgreSQL of its own, the tracker's own code. Exit codes as those of `benchmarks.run`; 69 also where the disk is
too full for the data, about 15 GB per million runs while they are made.
"""

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg

from benchmarks.command import EXIT_INTERRUPTED, leave
from benchmarks.history_data import NODES, RARE, WEEKS, WORKFLOWS, make_history
from benchmarks.machine import describe_machine
from benchmarks.measures import percentile
from benchmarks.plans import condense
from benchmarks.report import to_table
from run_tracker import repository
from run_tracker.handlers import EventHandler
from run_tracker.partitions import Partitions
from run_tracker.repository import RunRepository
from run_tracker.run_lists import RunLists, list_statement
from shared.contracts.cursors import RunCursor
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
from shared.logs import configure_logs
from shared.migrations import migrate
from shared.service import EXIT_UNAVAILABLE

BYTES_PER_RUN = 15_000
LARGEST = UUID(int=0)  # the workflow that a fifth of all runs belong to
FAILED = (RunStatus.FAILED, RunStatus.PARTIAL)
MERGED_RUNS, BATCH = 2_000, 200
PATIENCE = 60.0

Query = Callable[[], Awaitable[object]]
Picks = Sequence[tuple[UUID, UUID, str, datetime]]  # run, workflow, trigger id, creation: of runs picked at random


def _queries(database: Database, picks: Picks) -> Mapping[str, Query]:
    """Return what is measured, by what it is called; each call asks about other runs."""
    lists, runs, now = RunLists(database), RunRepository(database), datetime.now(UTC)

    def pick() -> tuple[UUID, UUID, str, datetime]:
        return random.choice(picks)

    def page(**wishes: object) -> Awaitable[object]:
        return lists.page(ListRuns.model_validate(wishes, by_name=True))

    def rare_tag() -> str:
        return f"batch-{int(pick()[2].removeprefix('order-')) // 1000}"

    def behind() -> RunCursor:
        run_id, _, _, created_at = pick()
        return RunCursor(created_at=created_at, run_id=run_id)

    def statistics(workflow_id: UUID, days: int) -> Awaitable[object]:
        query = GetStatistics(workflow_id=workflow_id, since=now - timedelta(days=days), until=now)
        return lists.statistics(query)

    return {
        "a page of a workflow's runs": lambda: page(workflow_id=pick()[1]),
        "a later page of a workflow's runs": lambda: page(workflow_id=pick()[1], after=behind()),
        "a page of all runs": page,
        "a later page of all runs": lambda: page(after=behind()),
        "a page of an owner's runs": lambda: page(owner=f"owner{random.randrange(50)}"),
        "a workflow's failed runs": lambda: page(workflow_id=pick()[1], status=FAILED),
        "a workflow's runs with a rare tag": lambda: page(workflow_id=pick()[1], tag=(rare_tag(),)),
        "a workflow's runs of a day, cost 0.09 at least": lambda: page(
            workflow_id=pick()[1], since=(began := pick()[3]), until=began + timedelta(days=1), min_cost=0.09
        ),
        "a workflow's runs with a common text in errors": lambda: page(workflow_id=pick()[1], error="said no"),
        "the largest workflow's runs with a text that no error has": lambda: page(workflow_id=LARGEST, error="??"),
        "all runs with a rare text in errors": lambda: page(error=RARE),
        "a run with its nodes": lambda: runs.get(pick()[0]),
        "a run by its trigger id": lambda: runs.find(pick()[2]),
        "newest outputs of a workflow's nodes": lambda: runs.outputs(
            pick()[1], [f"node_{number}" for number in range(NODES)]
        ),
        "statistics of a workflow, 30 days": lambda: statistics(pick()[1], 30),
        "statistics of the largest workflow, half a year": lambda: statistics(LARGEST, 7 * WEEKS),
    }


_SLOW = frozenset(
    {"all runs with a rare text in errors", "statistics of the largest workflow, half a year"}
    | {"the largest workflow's runs with a text that no error has"}
)


async def _measured(queries: Mapping[str, Query], times: int) -> list[list[str]]:
    rows: list[list[str]] = []
    for name, query in queries.items():
        await query()
        taken = sorted([await _milliseconds(query) for _ in range(max(times // 20, 3) if name in _SLOW else times)])
        rows.append([name, *(f"{percentile(taken, percent):.1f}" for percent in (50, 95, 100)), str(len(taken))])
        _say(" | ".join(rows[-1]))
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


async def _plans(connection: "asyncpg.Connection[asyncpg.Record]", picks: Picks) -> str:
    """Return the plans of the statements that matter, as they were executed."""
    run_id, workflow_id, trigger, created_at = picks[0]
    after = RunCursor(created_at=created_at, run_id=run_id)
    statements = {
        "a page of a workflow's runs": list_statement(ListRuns(workflow_id=workflow_id)),
        "a later page of a workflow's runs": list_statement(ListRuns(workflow_id=workflow_id, after=after)),
        "a workflow's failed runs": list_statement(ListRuns(workflow_id=workflow_id, status=FAILED)),
        "the nodes of a run": (repository.GET_NODES, [run_id, None, None, 1_000]),
        "a run by its trigger id": (repository.FIND_RUN, [trigger, None]),
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
        _say(f"made {runs:,} runs in {made:.0f} s, {size:.1f} GB")
        picks = [tuple(row) for row in await connection.fetch(_PICK)]
        rows = await _measured(_queries(database, picks), times)
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


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Make the history, measure, print the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000, help="how many runs (default 1,000,000)")
    parser.add_argument("--times", type=int, default=200, help="how often each is asked (default 200)")
    parser.add_argument("--folder", type=Path, help="where the data are made meanwhile (default: the system's)")
    parser.add_argument("--output", type=Path, help="write the report to this file, too")
    parser.add_argument("--plans", type=Path, help="write the plans to this file")
    options = parser.parse_args()
    configure_logs("benchmark", log_format="console", level="WARNING")
    signal.signal(signal.SIGTERM, leave)
    machine = describe_machine()
    try:
        with tempfile.TemporaryDirectory(prefix="weft-history-", dir=options.folder) as folder:
            if shutil.disk_usage(folder).free < options.runs * BYTES_PER_RUN:
                _say(f"disk_full: {options.runs * BYTES_PER_RUN / 1e9:.0f} GB are needed in {folder}; name --folder")
                return EXIT_UNAVAILABLE
            with EmbeddedStack(Path(folder), rabbitmq=False) as urls:
                assert urls.database_url
                migrate(urls.database_url, patience=PATIENCE)
                report, plans = asyncio.run(_measure(urls.database_url, options.runs, options.times))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    if options.output:
        options.output.write_text(f"`python -m benchmarks.history`\n\n{machine}.\n\n{report}")
    if options.plans:
        options.plans.write_text(f"# Plans of the run tracker's queries\n\n{_ABOUT_PLANS}\n\n{plans}")
    print(report)
    return 0


_ABOUT_PLANS = """\
As PostgreSQL carried them out on the data of `python -m benchmarks.history`, which writes this file. Of scans of many
partitions side by side, a few are shown."""

if __name__ == "__main__":
    sys.exit(main())
