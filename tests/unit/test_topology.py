"""The topology: nothing is lost for want of a queue, and every queue has a place for its dead letters."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from shared.contracts.commands import (
    NodeAbandon,
    NodeExecute,
    NodeExpire,
    NodeReplay,
    NodeRetry,
    RunAdmit,
    RunCancel,
    RunExpire,
    RunStart,
)
from shared.contracts.envelope import NodeAttempt
from shared.contracts.errors import Problem
from shared.contracts.events import (
    NodeFailed,
    NodeLasting,
    NodeProgress,
    NodeQueued,
    NodeStarted,
    NodeSucceeded,
    RunFinished,
)
from shared.contracts.graph import WorkflowGraph
from shared.contracts.node_types import REGISTRY, WORKER_TYPES
from shared.contracts.run_options import Lane
from shared.contracts.states import RunStatus
from shared.contracts.values import TextValue
from shared.topology import (
    COMMANDS_QUEUE,
    CONTROL,
    DEAD,
    DEAD_JOBS_QUEUE,
    EVENTS,
    EXCHANGES,
    HISTORY_QUEUE,
    JOBS,
    LETHAL_DEATHS,
    NO_LONGER_FORWARDED,
    PROGRESS,
    QUERY_QUEUES,
    QUEUES,
    RESULTS,
    RESULTS_QUEUE,
    RUNS,
    STREAM,
    Binding,
    address,
    worker_address,
)

BY_NAME = {queue.name: queue for queue in QUEUES}
RUN_ID = uuid4()
NOW = datetime.now(UTC)
NODE = NodeAttempt(run_id=RUN_ID, node_id="n", node_type="llm", attempt=1)
PROBLEM = Problem(code="x", message="x")


def test_every_worker_type_has_a_job_queue_for_each_lane():
    for node_type in WORKER_TYPES:
        for lane in Lane:
            assert Binding(JOBS, lane.name_in(node_type.name)) in BY_NAME[node_type.job_queue(lane)].bindings


def test_what_dies_in_a_lane_becomes_a_suspect_and_is_given_up_after_three_deaths():
    for node_type in WORKER_TYPES:
        suspects = BY_NAME[node_type.job_queue(Lane.SUSPECT)]
        lanes = [BY_NAME[node_type.job_queue(lane)] for lane in Lane if lane is not Lane.SUSPECT]
        assert {lane.arguments["x-dead-letter-routing-key"] for lane in lanes} == {suspects.name}
        assert Binding(DEAD, suspects.name) in suspects.bindings
        assert suspects.arguments["x-dead-letter-routing-key"] == node_type.queue
        limits = [int(queue.arguments["x-delivery-limit"]) for queue in (lanes[0], suspects)]
        assert sum(limit + 1 for limit in limits) == LETHAL_DEATHS == 3


def test_the_dead_jobs_of_a_type_are_kept_together_and_the_orchestrator_gets_a_copy():
    for node_type in WORKER_TYPES:
        assert node_type.queue
        dead = Binding(DEAD, node_type.queue)
        assert {BY_NAME[node_type.job_queue(lane)].dead_letter_queue for lane in Lane} == {f"dead.{node_type.queue}"}
        assert dead in BY_NAME[f"dead.{node_type.queue}"].bindings
        assert dead in BY_NAME[DEAD_JOBS_QUEUE].bindings


def test_results_of_workers_reach_the_orchestrator_which_tells_everybody():
    # A timeout takes its place behind the results that came before it.
    assert BY_NAME[RESULTS_QUEUE].bindings == (Binding(RESULTS, "node.#"), Binding(RUNS, "node.expire"))
    assert NO_LONGER_FORWARDED == {RESULTS: EVENTS}
    assert {Binding(EVENTS, key) for key in ("run.#", "node.#", "events")} == set(BY_NAME[HISTORY_QUEUE].bindings)


def test_every_queue_but_those_of_queries_is_a_quorum_queue_with_a_delivery_limit():
    for queue in QUEUES:
        if queue.name not in QUERY_QUEUES:
            assert queue.arguments["x-queue-type"] == "quorum"
            assert "x-delivery-limit" in queue.arguments


def test_every_quorum_queue_has_a_dead_letter_queue():
    live = [queue for queue in QUEUES if not queue.name.startswith("dead.") and queue.name not in QUERY_QUEUES]
    for queue in live:
        assert queue.dead_letter_queue
        assert BY_NAME[queue.dead_letter_queue].name.startswith("dead.")
        routing_key = str(queue.arguments["x-dead-letter-routing-key"])
        assert any(Binding(DEAD, routing_key) in other.bindings for other in QUEUES)


def test_the_stream_holds_all_events_and_is_no_queue_that_loses_them_to_a_reader():
    assert {binding.exchange for binding in STREAM.bindings} == {EVENTS, PROGRESS}
    assert STREAM.arguments["x-queue-type"] == "stream"
    assert STREAM.name not in BY_NAME


def test_every_queue_is_declared_once():
    assert len(BY_NAME) == len(QUEUES)


def test_every_binding_names_an_exchange_of_the_topology():
    assert {binding.exchange for queue in QUEUES for binding in queue.bindings} <= EXCHANGES.keys()


FINISHED = RunFinished(
    run_id=RUN_ID, at=NOW, status=RunStatus.COMPLETED, total_nodes=0, successful_nodes=0, failed_nodes=0
)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (RunStart(run_id=RUN_ID, graph=WorkflowGraph(nodes=())), (RUNS, "run.start")),
        (RunCancel(run_id=RUN_ID), (RUNS, "run.cancel")),
        (RunAdmit(run_id=RUN_ID, at=NOW), (RUNS, "run.admit")),
        (RunExpire(run_id=RUN_ID, at=NOW), (RUNS, "run.expire")),
        (NodeRetry(**NODE, at=NOW), (RUNS, "node.retry")),
        (NodeReplay(**NODE), (RUNS, "node.replay")),
        (NodeExpire(**NODE, at=NOW), (RUNS, "node.expire")),
        (NodeAbandon(**NODE), (CONTROL, "llm")),
        (NodeExecute(**NODE), (JOBS, "llm")),
        (NodeExecute(**NODE, lane=Lane.HIGH), (JOBS, "llm.high")),
        (NodeExecute(**NODE, lane=Lane.LOW), (JOBS, "llm.low")),
        (NodeQueued(**NODE, at=NOW), (EVENTS, "node.queued.llm")),
        (NodeFailed(**NODE, at=NOW, error=PROBLEM), (EVENTS, "node.failed.llm")),
        (FINISHED, (EVENTS, "run.finished")),
    ],
)
def test_where_messages_go(message, expected):
    assert address(message) == expected


def test_every_command_to_the_orchestrator_reaches_its_queue():
    patterns = {binding.routing_key for binding in BY_NAME[COMMANDS_QUEUE].bindings}
    assert patterns == {"run.*", "node.retry", "node.replay"}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (NodeSucceeded(**NODE, at=NOW, output=TextValue(text="x")), (RESULTS, "node.succeeded.llm")),
        (NodeFailed(**NODE, at=NOW, error=PROBLEM), (RESULTS, "node.failed.llm")),
        (NodeLasting(**NODE, at=NOW, started_at=NOW), (RESULTS, "node.lasting.llm")),
        (NodeStarted(**NODE, at=NOW, worker="w"), (EVENTS, "node.started.llm")),
        (NodeProgress(**NODE, at=NOW, sequence=1, text="x"), (PROGRESS, "node.progress.llm")),
        (NodeExecute(**NODE, lane=Lane.LOW), (JOBS, "llm.low")),
    ],
)
def test_where_messages_of_workers_go(message, expected):
    assert worker_address(message) == expected


def test_a_node_type_is_executed_by_a_worker_or_by_the_orchestrator_never_both():
    assert all((node_type.queue is None) != (node_type.evaluate is None) for node_type in REGISTRY.values())
