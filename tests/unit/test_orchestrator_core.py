"""The pure core, on random graphs: whatever the order, each node runs once, and only when its inputs are there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core import NOW, RUN_ID, Core, chain, failed, succeeded

from orchestrator.domain.evolve import UnknownNodeError
from orchestrator.domain.intake import Intake, take_in
from orchestrator.domain.state import RunAccepted
from shared.contracts.commands import NodeExecute
from shared.contracts.events import NodeFailed, NodeQueued, NodeSkipped, NodeSucceeded, RunFinished, RunStarted
from shared.contracts.graph import Edge, Node, WorkflowGraph
from shared.contracts.states import FINAL_NODE_STATUSES, IllegalTransitionError, NodeStatus, RunStatus
from shared.contracts.values import RecordValue, TextValue


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


@given(graphs(), st.integers())
def test_every_worker_node_is_executed_exactly_once(graph, seed):
    core = Core(graph).run(seed=seed)
    workers = sorted(node.id for node in graph.nodes if node.type == "llm")
    assert sorted(job.node_id for job in core.told(NodeExecute)) == workers
    assert set(core.statuses().values()) == {NodeStatus.SUCCESS}
    assert [message.status for message in core.told(RunFinished)] == [RunStatus.COMPLETED]


@given(graphs(), st.integers())
def test_a_job_comes_with_all_inputs_of_its_node_in_the_order_of_the_edges(graph, seed):
    core = Core(graph).run(seed=seed)
    for job in core.told(NodeExecute):
        wanted = [edge.source for edge in graph.edges if edge.target == job.node_id]
        assert [item.source for item in job.inputs.get("texts", ())] == wanted


@given(graphs(), st.integers(), answers())
def test_only_descendants_of_failures_are_skipped(graph, seed, answer):
    core = Core(graph).run(seed=seed, answer=answer)
    statuses = core.statuses()
    assert set(statuses.values()) <= FINAL_NODE_STATUSES
    for node in graph.nodes:
        before = {statuses[edge.source] for edge in graph.edges if edge.target == node.id}
        unsuccessful = bool(before & {NodeStatus.FAILED, NodeStatus.SKIPPED})
        assert (statuses[node.id] is NodeStatus.SKIPPED) == unsuccessful
    assert {skipped.node_id for skipped in core.told(NodeSkipped)} == {
        node_id for node_id, status in statuses.items() if status is NodeStatus.SKIPPED
    }


@given(graphs(), st.integers(), st.integers(), answers())
def test_repeated_and_shuffled_messages_change_nothing(graph, seed, other_seed, answer):
    once = Core(graph).run(seed=seed, answer=answer)
    again = Core(graph).run(seed=other_seed, answer=answer, repeat=3)
    assert again.statuses() == once.statuses()
    assert len(again.journal) == len(once.journal)
    assert len({message.message_id for message in again.told(RunFinished)}) == 1


@given(graphs(), st.integers(), st.data())
def test_what_follows_from_a_delivery_follows_again_when_it_is_repeated_at_once(graph, seed, data):
    """Crash after the journal's commit, before the publish: the repeated delivery publishes the same."""
    core = Core(graph)
    pending = [core.command]
    while pending:
        message = pending.pop(data.draw(st.integers(0, len(pending) - 1)))
        first = core.deliver(message)
        repeated = core.deliver(message)
        assert repeated.event is None
        assert repeated.messages == first.messages
        pending += [succeeded(job) for job in first.messages if isinstance(job, NodeExecute)]


@given(graphs(), st.integers(), answers())
def test_replaying_the_journal_gives_the_same_state(graph, seed, answer):
    core = Core(graph).run(seed=seed, answer=answer)
    assert core.replayed() == core.state


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
    core = Core(CHAIN).run()
    (finished,) = core.told(RunFinished)
    assert finished.result == RecordValue(fields={"answer": TextValue(text="ask(say)")})
    assert (finished.total_nodes, finished.successful_nodes, finished.failed_nodes) == (3, 3, 0)


AS_IT_BEGINS = [("say", NodeStatus.SUCCESS), ("ask", NodeStatus.QUEUED), ("out", NodeStatus.PENDING)]


def test_sources_have_succeeded_and_first_jobs_are_queued_when_the_run_starts():
    core = Core(CHAIN)
    core.start()
    (started,) = core.told(RunStarted)
    assert [(node.node_id, node.status) for node in started.nodes] == AS_IT_BEGINS
    assert [node.queued_at for node in started.nodes] == [None, started.at, None]
    assert core.told(NodeQueued) == []


def test_a_start_that_is_told_again_tells_how_the_run_began_whatever_has_become_of_it():
    core = Core(CHAIN).run()
    core.deliver(core.command)
    first, again = core.told(RunStarted)
    assert again == first


def test_a_supplied_input_overrides_the_text():
    core = Core(CHAIN, inputs={"say": TextValue(text="bye")})
    core.start()
    (job,) = core.told(NodeExecute)
    assert job.inputs["user_message"][0].value == TextValue(text="bye")


def test_a_graph_that_cannot_run_ends_as_failed_and_tells_all_problems():
    broken = WorkflowGraph(nodes=(Node(id="a", type="sharpen"), Node(id="b", type="crop_image")))
    core = Core(broken)
    core.start()
    (finished,) = core.told(RunFinished)
    assert finished.status is RunStatus.FAILED
    assert sorted(problem.code for problem in finished.problems) == ["missing_input", "unknown_type"]
    assert core.told(NodeExecute) == []


def test_a_result_of_an_unknown_node_is_refused():
    core = Core(CHAIN)
    core.start()
    stranger = NodeSucceeded(
        run_id=RUN_ID, node_id="nobody", node_type="llm", attempt=1, at=NOW, output=TextValue(text="")
    )
    with pytest.raises(UnknownNodeError):
        core.deliver(stranger)


def test_a_result_of_a_node_that_was_never_queued_is_refused():
    core = Core(CHAIN)
    core.start()
    early = NodeSucceeded(
        run_id=RUN_ID, node_id="out", node_type="response", attempt=1, at=NOW, output=TextValue(text="")
    )
    with pytest.raises(IllegalTransitionError):
        core.deliver(early)


def test_a_dead_job_fails_its_node_and_is_told_to_all():
    core = Core(CHAIN)
    (job,) = core.start().of(NodeExecute)
    decision = core.deliver(job)
    assert [message.kind_name() for message in decision.messages] == ["node.failed", "node.skipped", "run.finished"]
    assert core.told(NodeFailed)[0].error.code == "worker_crashed"
    repeated = core.deliver(job)
    assert repeated.event is None
    assert repeated.messages == decision.messages


def test_a_dead_job_of_a_node_that_succeeded_changes_nothing():
    core = Core(CHAIN).run()
    (job,) = core.told(NodeExecute)
    decision = core.deliver(job)
    assert (decision.event, decision.messages) == (None, ())


def test_a_result_without_a_run_is_without_effect():
    late = NodeSucceeded(run_id=RUN_ID, node_id="ask", node_type="llm", attempt=1, at=NOW, output=TextValue(text=""))
    assert take_in(None, late, now=NOW) == Intake(None)


def test_the_first_event_of_a_journal_is_the_accepted_run():
    core = Core(CHAIN).run()
    assert isinstance(core.journal[0], RunAccepted)
    assert core.journal[0].at == NOW


def test_a_deep_graph_does_not_exhaust_the_stack():
    core = Core(chain(*(str(number) for number in range(5_000)))).run(answer=failed)
    assert len(core.told(NodeSkipped)) == 4_999
    assert len(core.told(RunFinished)) == 1


def test_records_that_are_nested_too_deep_for_a_message_fail_their_node():
    nodes = tuple(Node(id=str(number), type="response") for number in range(100))
    edges = tuple(Edge(source=str(n), target=str(n + 1), target_handle="x") for n in range(99))
    core = Core(WorkflowGraph(nodes=nodes, edges=edges))
    core.start()
    (failure,) = core.told(NodeFailed)
    assert failure.error.code == "inputs_too_deep"
    assert core.told(RunFinished)[0].to_json()
