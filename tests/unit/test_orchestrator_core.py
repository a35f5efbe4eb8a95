"""The pure core, on random graphs: whatever the order, each node runs once, and only when its inputs are there."""

import random
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.evolve import UnknownNodeError, evolve
from orchestrator.domain.intake import take_in
from orchestrator.domain.state import RunAccepted
from shared.contracts.errors import Problem
from shared.contracts.graph import Edge, Node, WorkflowGraph
from shared.contracts.messages import (
    NodeExecute,
    NodeFailed,
    NodeSkipped,
    NodeSucceeded,
    RunFinished,
    RunStart,
    RunStarted,
)
from shared.contracts.states import FINAL_NODE_STATUSES, IllegalTransitionError, NodeStatus, RunStatus
from shared.contracts.values import RecordValue, TextValue

RUN_ID = UUID(int=7)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def start(graph, **inputs):
    return RunStart(run_id=RUN_ID, graph=graph, inputs=inputs)


def succeeded(job):
    """The answer of a worker that tells which of its inputs it saw."""
    seen = ",".join(item.source for items in job.inputs.values() for item in items)
    return NodeSucceeded(**job.about, at=NOW, output=TextValue(text=f"{job.node_id}({seen})"))


def failed(job):
    return NodeFailed(**job.about, at=NOW, error=Problem(code="llm_refused", message="no"))


@st.composite
def answers(draw):
    """Workers of which some nodes always fail."""
    failing = draw(st.sets(st.sampled_from([f"n{number}" for number in range(12)])))
    return lambda job: failed(job) if job.node_id in failing else succeeded(job)


@st.composite
def graphs(draw):
    """Acyclic graphs of up to 12 nodes: texts, model questions, responses."""
    count = draw(st.integers(1, 12))
    nodes, edges = [], []
    for number in range(count):
        kind = draw(st.sampled_from(["llm", "llm", "llm", "text", "response"]))
        nodes.append(Node(id=f"n{number}", type=kind, params={"userMessage": "?"} if kind == "llm" else {}))
        if kind == "text":
            continue
        possible = [node for node in nodes[:-1] if node.type != "response"]
        sources = draw(st.lists(st.sampled_from(possible), unique_by=lambda node: node.id)) if possible else []
        for position, source in enumerate(sources):
            handle = "texts" if kind == "llm" else f"result{position}"
            edges.append(Edge(source=source.id, target=f"n{number}", target_handle=handle))
    return WorkflowGraph(nodes=tuple(nodes), edges=tuple(edges))


class World:
    """A broker and workers for the pure core: jobs are answered in any order, each message `repeat` times."""

    def __init__(self, graph, seed=0, *, answer=succeeded, repeat=1):
        self.graph = graph
        self.random = random.Random(seed)
        self.answer = answer
        self.repeat = repeat
        self.state = None
        self.journal = []
        self.published = []
        self.jobs = {}

    def deliver(self, message):
        decision = take_in(self.state, message, now=NOW)
        self.state = decision.state
        if decision.event:
            self.journal.append(decision.event)
        self.published += decision.messages
        return decision

    def run(self):
        pending = [start(self.graph)] * self.repeat
        while pending:
            message = pending.pop(self.random.randrange(len(pending)))
            for job in self.deliver(message).messages:
                if isinstance(job, NodeExecute) and job.message_id not in self.jobs:
                    self.jobs[job.message_id] = job
                    pending += [self.answer(job)] * self.repeat
        return self

    def told(self, kind):
        return [message for message in self.published if isinstance(message, kind)]

    def statuses(self):
        assert self.state
        return {node_id: node.status for node_id, node in self.state.nodes.items()}


@given(graphs(), st.integers())
def test_every_worker_node_is_executed_exactly_once(graph, seed):
    world = World(graph, seed).run()
    workers = sorted(node.id for node in graph.nodes if node.type == "llm")
    assert sorted(job.node_id for job in world.told(NodeExecute)) == workers
    assert set(world.statuses().values()) == {NodeStatus.SUCCESS}
    assert [message.status for message in world.told(RunFinished)] == [RunStatus.COMPLETED]


@given(graphs(), st.integers())
def test_a_job_comes_with_all_inputs_of_its_node_in_the_order_of_the_edges(graph, seed):
    world = World(graph, seed).run()
    for job in world.jobs.values():
        wanted = [edge.source for edge in graph.edges if edge.target == job.node_id]
        assert [item.source for item in job.inputs.get("texts", ())] == wanted


@given(graphs(), st.integers(), answers())
def test_only_descendants_of_failures_are_skipped(graph, seed, answer):
    world = World(graph, seed, answer=answer).run()
    statuses = world.statuses()
    assert set(statuses.values()) <= FINAL_NODE_STATUSES
    for node in graph.nodes:
        before = {statuses[edge.source] for edge in graph.edges if edge.target == node.id}
        unsuccessful = bool(before & {NodeStatus.FAILED, NodeStatus.SKIPPED})
        assert (statuses[node.id] is NodeStatus.SKIPPED) == unsuccessful
    assert {skipped.node_id for skipped in world.told(NodeSkipped)} == {
        node_id for node_id, status in statuses.items() if status is NodeStatus.SKIPPED
    }


@given(graphs(), st.integers(), st.integers(), answers())
def test_repeated_and_shuffled_messages_change_nothing(graph, seed, other_seed, answer):
    once = World(graph, seed, answer=answer).run()
    again = World(graph, other_seed, answer=answer, repeat=3).run()
    assert again.statuses() == once.statuses()
    assert len(again.journal) == len(once.journal)
    assert len({message.message_id for message in again.told(RunFinished)}) == 1


@given(graphs(), st.integers(), st.data())
def test_what_follows_from_a_delivery_follows_again_when_it_is_repeated_at_once(graph, seed, data):
    """Crash after the journal's commit, before the publish: the repeated delivery publishes the same."""
    world = World(graph, seed)
    pending = [start(graph)]
    while pending:
        message = pending.pop(data.draw(st.integers(0, len(pending) - 1)))
        first = world.deliver(message)
        repeated = world.deliver(message)
        assert repeated.event is None
        assert repeated.messages == first.messages
        pending += [succeeded(job) for job in first.messages if isinstance(job, NodeExecute)]


@given(graphs(), st.integers(), answers())
def test_replaying_the_journal_gives_the_same_state(graph, seed, answer):
    world = World(graph, seed, answer=answer).run()
    state = None
    for event in world.journal:
        state = evolve(state, type(event).model_validate_json(event.to_json()))
    assert state == world.state


CHAIN = WorkflowGraph(
    nodes=(
        Node(id="say", type="text", params={"text": "hello"}),
        Node(id="ask", type="llm", name="Ask"),
        Node(id="out", type="response"),
    ),
    edges=(
        Edge(source="say", target="ask", target_handle="user_message"),
        Edge(source="ask", target="out", target_handle="answer"),
    ),
)


def test_the_response_is_the_runs_result():
    world = World(CHAIN).run()
    (finished,) = world.told(RunFinished)
    assert finished.result == RecordValue(fields={"answer": TextValue(text="ask(say)")})
    assert (finished.total_nodes, finished.successful_nodes, finished.failed_nodes) == (3, 3, 0)


def test_sources_have_succeeded_when_the_run_starts():
    world = World(CHAIN)
    world.deliver(start(CHAIN))
    (started,) = world.told(RunStarted)
    assert [(node.node_id, node.status) for node in started.nodes] == [
        ("say", NodeStatus.SUCCESS),
        ("ask", NodeStatus.PENDING),
        ("out", NodeStatus.PENDING),
    ]


def test_a_supplied_input_overrides_the_text():
    world = World(CHAIN)
    world.deliver(start(CHAIN, say=TextValue(text="bye")))
    (job,) = world.told(NodeExecute)
    assert job.inputs["user_message"][0].value == TextValue(text="bye")


def test_a_graph_that_cannot_run_ends_as_failed_and_tells_all_problems():
    broken = WorkflowGraph(nodes=(Node(id="a", type="sharpen"), Node(id="b", type="crop_image")))
    world = World(broken)
    world.deliver(start(broken))
    (finished,) = world.told(RunFinished)
    assert finished.status is RunStatus.FAILED
    assert sorted(problem.code for problem in finished.problems) == ["missing_input", "unknown_type"]
    assert world.told(NodeExecute) == []


def test_a_result_of_an_unknown_node_is_refused():
    world = World(CHAIN)
    world.deliver(start(CHAIN))
    stranger = NodeSucceeded(
        run_id=RUN_ID, node_id="nobody", node_type="llm", attempt=1, at=NOW, output=TextValue(text="")
    )
    with pytest.raises(UnknownNodeError):
        world.deliver(stranger)


def test_a_result_of_a_node_that_was_never_queued_is_refused():
    world = World(CHAIN)
    world.deliver(start(CHAIN))
    early = NodeSucceeded(
        run_id=RUN_ID, node_id="out", node_type="response", attempt=1, at=NOW, output=TextValue(text="")
    )
    with pytest.raises(IllegalTransitionError):
        world.deliver(early)


def test_a_dead_job_fails_its_node_and_is_told_to_all():
    world = World(CHAIN)
    (job,) = [message for message in world.deliver(start(CHAIN)).messages if isinstance(message, NodeExecute)]
    decision = world.deliver(job)
    assert [message.kind_name() for message in decision.messages] == ["node.failed", "node.skipped", "run.finished"]
    assert world.told(NodeFailed)[0].error.code == "worker_crashed"
    repeated = world.deliver(job)
    assert repeated.event is None
    assert repeated.messages == decision.messages


def test_a_dead_job_of_a_node_that_succeeded_changes_nothing():
    world = World(CHAIN).run()
    (job,) = world.jobs.values()
    decision = world.deliver(job)
    assert (decision.event, decision.messages) == (None, ())


def test_a_result_without_a_run_is_without_effect():
    late = NodeSucceeded(run_id=RUN_ID, node_id="ask", node_type="llm", attempt=1, at=NOW, output=TextValue(text=""))
    decision = take_in(None, late, now=NOW)
    assert (decision.state, decision.event, decision.messages) == (None, None, ())


def test_the_first_event_of_a_journal_is_the_accepted_run():
    world = World(CHAIN).run()
    assert isinstance(world.journal[0], RunAccepted)
    assert world.journal[0].at == NOW


def test_a_deep_graph_does_not_exhaust_the_stack():
    nodes = tuple(Node(id=str(number), type="response") for number in range(5_000))
    edges = tuple(Edge(source=str(n), target=str(n + 1), target_handle="x") for n in range(4_999))
    graph = WorkflowGraph(nodes=nodes, edges=edges)
    world = World(graph)
    world.deliver(start(graph))
    assert len(world.told(RunFinished)) == 1
