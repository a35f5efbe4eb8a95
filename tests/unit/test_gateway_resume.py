"""Taking a run up: what is reused is exactly what succeeded and depends on nothing that is executed again."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.resume import Changes, override, replay, resume
from shared.contracts.commands import RunStart
from shared.contracts.errors import InvalidInputError
from shared.contracts.graph import Edge, Node, WorkflowGraph
from shared.contracts.run_options import Budget, Concurrency, Priority, RunOptions, Scope
from shared.contracts.scopes import Selection
from shared.contracts.validation import find_start_problems
from shared.contracts.values import RecordValue, TextValue

RUN = UUID(int=1)


def text(content):
    return TextValue(text=content)


def output_of(node):
    return RecordValue(fields={}) if node.type == "response" else text(f"made by {node.id}")


@st.composite
def graphs(draw):
    """Acyclic graphs of up to 10 nodes: texts, model questions, responses."""
    nodes, edges = [], []
    for number in range(draw(st.integers(1, 10))):
        kind = draw(st.sampled_from(["llm", "llm", "text", "response"]))
        nodes.append(Node(id=f"n{number}", type=kind, params={"userMessage": "?"} if kind == "llm" else {}))
        possible = [] if kind == "text" else [node.id for node in nodes[:-1] if node.type != "response"]
        for place, source in enumerate(draw(st.lists(st.sampled_from(possible), unique=True)) if possible else []):
            handle = "texts" if kind == "llm" else f"result{place}"
            edges.append(Edge(source=source, target=f"n{number}", target_handle=handle))
    return WorkflowGraph(nodes=tuple(nodes), edges=tuple(edges))


@st.composite
def selections(draw, graph):
    """What a run of the graph was asked for: all of it, or a part with the outputs that the part needs."""
    ids = [node.id for node in graph.nodes]
    selected = draw(st.lists(st.sampled_from(ids), unique=True, max_size=len(ids)))
    if not selected:
        return Selection()
    lacking = set(Selection(Scope.SELECTED, tuple(selected)).lacking(graph))
    outputs = {node.id: text(f"given for {node.id}") for node in graph.nodes if node.id in lacking}
    return Selection(Scope.SELECTED, tuple(selected), outputs)


@st.composite
def cases(draw):
    """A run, what of it succeeded, and what is to be changed."""
    graph = draw(graphs())
    selection = draw(selections(graph))
    old = RunStart(
        run_id=RUN, graph=graph, scope=selection.scope, selected=selection.selected, given=dict(selection.given or {})
    )
    scope = sorted(set(selection.selected) or {node.id for node in graph.nodes})
    some = st.lists(st.sampled_from(scope), unique=True)
    succeeded = draw(some)
    edited = draw(some)
    outputs = {node.id: output_of(node) for node in graph.nodes if node.id in succeeded} | old.given
    changes = Changes(
        afresh=draw(st.booleans()),
        from_node=draw(st.none() | st.sampled_from(scope)),
        params={node.id: edit_of(node) for node in graph.nodes if node.id in edited},
        inputs={node.id: text("other") for node in graph.nodes if node.type == "text" and node.id in draw(some)},
    )
    return old, outputs, changes


def edit_of(node):
    return {"llm": {"userMessage": "!"}, "text": {"text": "edited"}}.get(node.type, {})


def reaches(graph, starts, node_id):
    """Tell whether a path leads from one of the starts to the node."""
    sources = [edge.source for edge in graph.edges if edge.target == node_id]
    return node_id in starts or any(reaches(graph, starts, source) for source in sources)


@given(cases())
def test_what_is_reused_is_exactly_what_succeeded_and_nothing_changed_reaches(case):
    old, outputs, changes = case
    scope = set(old.selected) or {node.id for node in old.graph.nodes}
    inner = old.graph.model_copy(update={"edges": tuple(edge for edge in old.graph.edges if edge.target in scope)})
    inner = inner.model_copy(update={"edges": tuple(edge for edge in inner.edges if edge.source in scope)})
    dirty = {node_id for node_id in scope if changes.afresh or node_id not in outputs}
    dirty |= {node_id for node_id, edit in changes.params.items() if edit} | changes.inputs.keys()
    dirty |= {changes.from_node} - {None}
    expected = {node_id for node_id in scope & outputs.keys() if not reaches(inner, dirty, node_id)}
    command = resume(old, outputs, changes)
    assert command.given.keys() & scope == expected
    assert all(command.given[node_id] == outputs[node_id] for node_id in expected)
    assert {key: value for key, value in command.given.items() if key not in scope} == old.given
    assert command.resumed_from == RUN


@given(cases())
def test_a_run_that_is_taken_up_can_be_started(case):
    old, outputs, changes = case
    command = resume(old, outputs, changes)
    selection = Selection(command.scope, command.selected, command.given)
    assert find_start_problems(command.graph, command.inputs, selection) == []


@given(cases())
def test_a_replay_of_what_was_taken_up_from_its_start_asks_for_the_same(case):
    old, outputs, _ = case
    assert replay(resume(old, outputs, Changes(afresh=True))) == replay(old) == old


CHAIN = WorkflowGraph(
    nodes=(
        Node(id="tone", type="text", params={"text": "calm"}),
        Node(id="first", type="llm", params={"user_message": "?", "temperature": 1}),
        Node(id="second", type="llm", params={"userMessage": "?"}),
    ),
    edges=(
        Edge(source="tone", target="first", target_handle="system_prompt"),
        Edge(source="first", target="second", target_handle="texts"),
    ),
)
OLD = RunStart(run_id=RUN, graph=CHAIN, inputs={"tone": text("loud")})
ALL = {node.id: output_of(node) for node in CHAIN.nodes}


def problems_of(old, **changes):
    with pytest.raises(InvalidInputError) as caught:
        resume(old, ALL, Changes(**changes))
    return [(problem.code, problem.node_id) for problem in caught.value.problems]


def test_an_edit_that_says_the_same_edits_nothing():
    edits = {"first": {"userMessage": "?", "temperature": 1}}
    command = resume(OLD, ALL, Changes(params=edits, inputs={"tone": text("loud")}))
    assert command.graph == CHAIN
    assert command.given == ALL


def test_edited_params_are_merged_under_whatever_name_they_had():
    command = resume(OLD, ALL, Changes(params={"first": {"userMessage": "!"}}))
    assert command.graph.nodes[1].params == {"userMessage": "!", "temperature": 1}
    assert command.given.keys() == {"tone"}


def test_another_input_executes_its_source_again():
    command = resume(OLD, ALL, Changes(inputs={"tone": text("soft")}))
    assert command.inputs == {"tone": text("soft")}
    assert command.given == {}


def test_all_unknown_nodes_are_named():
    assert problems_of(OLD, from_node="x", params={"y": {}}) == [("unknown_node", "x"), ("unknown_node", "y")]


def test_params_that_do_not_fit_are_refused():
    assert ("invalid_params", "first") in problems_of(OLD, params={"first": {"temperature": 9}})


def test_a_run_that_could_not_start_is_resumed_with_better_params():
    node = Node(id="first", type="llm", params={"temperature": 9, "userMessage": "?"})
    broken = OLD.model_copy(update={"graph": WorkflowGraph(nodes=(node,)), "inputs": {}})
    assert resume(broken, {}, Changes(params={"first": {"temperature": 1}})).given == {}
    unknown = broken.model_copy(update={"graph": WorkflowGraph(nodes=(Node(id="first", type="teleport"),))})
    with pytest.raises(InvalidInputError, match="unknown_type"):
        resume(unknown, {}, Changes(params={"first": {}}))


SINGLE = OLD.model_copy(
    update={"scope": Scope.SINGLE, "selected": ("first",), "given": {"tone": text("loud")}, "resumed_from": None}
)


def test_what_was_not_selected_is_not_executed():
    assert problems_of(SINGLE, from_node="second") == [("node_not_selected", "second")]
    assert problems_of(SINGLE, params={"second": {"userMessage": "!"}}) == [("node_not_selected", "second")]


def test_a_source_out_of_the_selection_follows_inputs_and_edits():
    supplied = resume(SINGLE, ALL, Changes(inputs={"tone": text("soft")}))
    assert (supplied.given, supplied.selected) == ({"tone": text("soft")}, ("first",))
    edited = resume(SINGLE.model_copy(update={"inputs": {}}), ALL, Changes(params={"tone": {"text": "hoarse"}}))
    assert edited.given == {"tone": text("hoarse")}


def test_a_pinned_output_stays_in_a_replay_and_what_was_reused_does_not():
    pinned = OLD.model_copy(update={"given": {"first": text("pinned")}})
    assert replay(pinned).given == {"first": text("pinned")}
    assert resume(pinned, {}, Changes(afresh=True)).given == {"first": text("pinned")}
    assert resume(pinned, {}, Changes(from_node="tone")).given == {"first": text("pinned")}
    resumed = pinned.model_copy(update={"resumed_from": UUID(int=2)})
    assert replay(resumed).given == {}
    assert replay(resumed).resumed_from is None


def test_options_are_replaced_field_by_field():
    old = RunOptions(priority=Priority.LOW, timeout=5, budget=Budget(max_cost=1, max_tokens=7))
    new = RunOptions.model_validate({"budget": {"maxCost": 2}, "concurrency": {"key": "k"}})
    merged = override(old, new)
    assert (merged.priority, merged.timeout) == (Priority.LOW, 5)
    assert merged.budget == Budget(max_cost=2, max_tokens=7)
    assert merged.concurrency == Concurrency(key="k")
    assert override(merged, RunOptions.model_validate({"budget": None})).budget is None
    assert override(merged, RunOptions()) == merged
