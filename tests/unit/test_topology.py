"""The topology: nothing is lost for want of a queue, and every queue has a place for its dead letters."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from shared.contracts.graph import WorkflowGraph
from shared.contracts.messages import NodeExecute, NodeQueued, RunFinished, RunStart
from shared.contracts.node_types import REGISTRY, WORKER_TYPES
from shared.contracts.states import RunStatus
from shared.topology import DEAD, EVENTS, EXCHANGES, JOBS, QUERIES_QUEUE, QUEUES, RUNS, Binding, address

BY_NAME = {queue.name: queue for queue in QUEUES}
RUN_ID = uuid4()
NOW = datetime.now(UTC)


def test_every_worker_type_has_a_job_queue_and_its_results_reach_the_orchestrator():
    for node_type in WORKER_TYPES:
        assert node_type.queue
        assert Binding(JOBS, node_type.name) in BY_NAME[node_type.queue].bindings
        for outcome in ("succeeded", "failed"):
            binding = Binding(EVENTS, f"node.{outcome}.{node_type.name}")
            assert binding in BY_NAME["orchestrator.results"].bindings


def test_every_queue_but_that_of_queries_is_a_quorum_queue_with_a_delivery_limit():
    for queue in QUEUES:
        if queue.name != QUERIES_QUEUE:
            assert queue.arguments["x-queue-type"] == "quorum"
            assert "x-delivery-limit" in queue.arguments


def test_every_quorum_queue_has_its_dead_letter_queue_beside_it():
    live = [queue for queue in QUEUES if not queue.name.startswith("dead.") and queue.name != QUERIES_QUEUE]
    for queue in live:
        assert queue.dead_letter_queue
        assert Binding(DEAD, queue.name) in BY_NAME[queue.dead_letter_queue].bindings
        assert queue.arguments["x-dead-letter-routing-key"] == queue.name


def test_every_binding_names_an_exchange_of_the_topology():
    assert {binding.exchange for queue in QUEUES for binding in queue.bindings} <= EXCHANGES.keys()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (RunStart(run_id=RUN_ID, graph=WorkflowGraph(nodes=())), (RUNS, "run.start")),
        (NodeExecute(run_id=RUN_ID, node_id="n", node_type="llm"), (JOBS, "llm")),
        (NodeQueued(run_id=RUN_ID, node_id="n", node_type="llm", at=NOW), (EVENTS, "node.queued.llm")),
        (
            RunFinished(
                run_id=RUN_ID,
                at=NOW,
                status=RunStatus.COMPLETED,
                total_nodes=0,
                successful_nodes=0,
                failed_nodes=0,
            ),
            (EVENTS, "run.finished"),
        ),
    ],
)
def test_where_messages_go(message, expected):
    assert address(message) == expected


def test_a_node_type_is_executed_by_a_worker_or_by_the_orchestrator_never_both():
    assert all((node_type.queue is None) != (node_type.evaluate is None) for node_type in REGISTRY.values())
