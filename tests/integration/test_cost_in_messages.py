"""What a run costs, in what does not depend on the clock: messages, statements, transactions, bytes.

The graph is the one that `make bench` measures: an upload, three crops, three questions, a join; seven jobs. Each
number has its reason beside it. A change that adds a hop, or a statement to a batch, is seen here; one that is meant
changes the number, and the reason.
"""

from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest
from benchmarks.noop_worker import FUNCTIONS
from benchmarks.shapes import sample
from benchmarks.weft_side import graph
from tests.integration.gateway_client import until

from orchestrator import waiting_jobs
from orchestrator.main import create_service as orchestrator
from run_tracker.main import create_service as run_tracker
from shared import topology
from shared.contracts.bundles import Bundle
from shared.contracts.commands import RunStart
from shared.contracts.node_types import REGISTRY, WORKER_TYPES
from shared.contracts.run_options import Lane, RunOptions
from shared.database import Database
from shared.messaging.connection import connect
from shared.topology import EVENTS, RESULTS, RUNS
from shared.worker import backlog, under_way, worker_service

JOBS = 7
NODES = JOBS + 1  # the orchestrator evaluates the upload itself
MESSAGES = {
    (RUNS, "run.start"): 1,
    (topology.JOBS, "node.execute"): JOBS,
    (EVENTS, "run.started"): 1,
    (EVENTS, "run.finished"): 1,
    # That jobs as short as these were queued, and started, is told by their results.
}
# At most one for each job: results that come while others are on their way follow together, and so is told what was
# decided together.
RESULT_KINDS = ((RESULTS, "node.succeeded"), (RESULTS, Bundle.kind_name()))
BUNDLE = (EVENTS, Bundle.kind_name())
DECISIONS = 1 + JOBS  # batches of the orchestrator, at most: the start and each result by itself
TOLD = 2 + JOBS  # batches of the tracker, at most: the run's start and its end, and each result in a bundle of its own
DECISION_STATEMENTS = 1  # to create, lock, append and finish in one, as long as no other replica has written
TOLD_STATEMENTS = 5  # find the week, read it, merge runs, nodes, attempts; late results have none here
BODY_BYTES = 1_900  # of messages, per node; ids, times, pictures by reference; results twice, in bundles with an index
ROW_BYTES = 1_550  # of the journal, a third of it, and of the history, per node
_DRIVERS = ("pg_catalog", "('jit'")  # in statements by which the driver learns of types
_HISTORY = ("run_week", "workflow_run", "node_execution", "node_attempt")
_TABLES = ("orchestrator.run", "orchestrator.journal", *(f"run_tracker.{name}" for name in _HISTORY))
_RECORDED = "SELECT count(*) FROM run_tracker.node_execution WHERE status = 'success'"


class Counted:
    """Messages by exchange and kind, their bytes, and the statements of each transaction."""

    def __init__(self):
        self.messages = Counter()
        self.body_bytes = 0
        self.transactions = []

    async def take(self, message):
        self.messages[message.exchange, message.type] += 1
        self.body_bytes += len(message.body)

    def writing(self, table):
        """Return the transactions that wrote to a table."""
        return [made for made in self.transactions if any(f"INSERT INTO {table}" in statement for statement in made)]


@pytest.fixture
def counted(monkeypatch):
    """Counts the statements of all transactions, without those by which the driver learns of types."""
    counted = Counted()
    for opening in (Database.transaction, Database.session):
        monkeypatch.setattr(Database, opening.__name__, counting(opening, counted))
    return counted


def counting(opening, counted):
    @asynccontextmanager
    async def opened(self):
        statements = []
        counted.transactions.append(statements)

        def note(logged):
            if not any(mark in logged.query for mark in _DRIVERS):
                statements.append(logged.query)

        async with opening(self) as connection:
            with connection.query_logger(note):
                yield connection

    return opened


@pytest.fixture
async def overheard(stack, counted):
    """Counts all messages, too: each once, however many queues it reaches."""
    async with connect(stack.amqp_url, name="test", patience=5) as connection:
        queue = await (await connection.channel()).declare_queue(exclusive=True)
        for exchange, kind in topology.EXCHANGES.items():
            for key in ["#"] if kind == "topic" else _direct_keys():
                await queue.bind(exchange, key)
        await queue.consume(counted.take, no_ack=True)
        yield counted


def _direct_keys():
    lanes = [lane.name_in(node_type.name) for node_type in WORKER_TYPES for lane in Lane]
    return {*lanes, *topology.QUERY_QUEUES, *(queue.name for queue in topology.QUEUES)}


@pytest.fixture
def settled(monkeypatch):
    """Jobs are short, and sent long after their workers had come, as most are: of others they would tell, and ask."""
    monkeypatch.setattr(under_way, "STARTED_SECONDS", 60.0)
    monkeypatch.setattr(waiting_jobs, "TOLD_AFTER_SECONDS", 60.0)
    monkeypatch.setattr(backlog, "MARGIN", timedelta(hours=-1))


@pytest.fixture
async def services(stack, settled, empty_queues, empty_tables):
    """Orchestrator, tracker, and two workers whose bodies do nothing."""
    async with AsyncExitStack() as services:
        await services.enter_async_context(run_tracker(stack))
        await services.enter_async_context(orchestrator(stack))
        for name, function in FUNCTIONS.items():
            await services.enter_async_context(worker_service(stack, REGISTRY[name], function, 8))
        yield


@pytest.fixture
def client(stack, services, overheard, publisher):
    """Runs the graph so many times at once; returns when all is recorded."""

    async def execute(runs):
        options = RunOptions(use_cache=False)
        starts = [RunStart(run_id=uuid4(), graph=graph(sample()), options=options) for _ in range(runs)]
        await publisher.publish_all(starts)
        await until(is_recorded(stack, overheard, runs))

    return execute


def is_recorded(stack, counted, runs):
    async def holds():
        recorded = await ask(stack, _RECORDED)  # first, because it lets the messages come meanwhile
        others = counted.messages.total() - sum(counted.messages[kind] for kind in (BUNDLE, *RESULT_KINDS))
        return recorded >= runs * NODES and others >= runs * sum(MESSAGES.values())

    return holds


async def ask(stack, query):
    connection = await asyncpg.connect(stack.database_url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_a_run_is_so_many_messages_and_no_more(client, overheard):
    await client(1)
    assert 1 <= overheard.messages.pop(BUNDLE) <= JOBS
    assert 1 <= sum(overheard.messages.pop(kind, 0) for kind in RESULT_KINDS) <= JOBS
    assert overheard.messages == MESSAGES


async def test_a_run_is_so_many_bytes_of_messages(client, overheard):
    await client(1)
    assert overheard.body_bytes / NODES <= BODY_BYTES


async def test_a_run_is_one_transaction_for_each_message_at_most(client, counted):
    await client(1)
    assert 1 <= len(counted.writing("orchestrator.journal")) <= DECISIONS
    assert 1 <= len(counted.writing("run_tracker.run_week")) <= TOLD


async def test_a_batch_is_so_many_statements_whatever_its_size(client, counted):
    await client(20)
    assert max(map(len, counted.writing("orchestrator.journal"))) <= DECISION_STATEMENTS
    assert max(map(len, counted.writing("run_tracker.run_week"))) <= TOLD_STATEMENTS
    assert len(counted.writing("orchestrator.journal")) < 20 * DECISIONS


async def test_a_run_is_so_many_bytes_of_rows(client, stack):
    await client(1)
    rows = [await ask(stack, f"SELECT sum(pg_column_size(told.*)) FROM {table} AS told") for table in _TABLES]
    assert sum(rows) / NODES <= ROW_BYTES
