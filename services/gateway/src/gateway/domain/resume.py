"""What a run that takes up another one executes, and what it is given of what the other one made."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from gateway.domain.scope import current_output
from shared.contracts.commands import RunStart
from shared.contracts.errors import InvalidInputError, Problem
from shared.contracts.graph import Node, WorkflowGraph
from shared.contracts.node_types import REGISTRY
from shared.contracts.run_options import RunOptions, Scope
from shared.contracts.scopes import Selection, descendants
from shared.contracts.validation import find_problems, inputs_asked_by
from shared.contracts.values import Value


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be otherwise than in the run that is taken up.

    `afresh` reuses nothing that it made; `from_node` is executed again in any case, with all that depends on it.
    `params` (by node id, then by name), `inputs` and those `options` that were set replace the earlier ones.
    """

    afresh: bool = False
    from_node: str | None = None
    params: Mapping[str, Mapping[str, JsonValue]] = field(default_factory=dict[str, dict[str, JsonValue]])
    inputs: Mapping[str, Value] = field(default_factory=dict[str, Value])
    options: RunOptions = field(default_factory=RunOptions)


def resume(old: RunStart, successes: Mapping[str, Value], changes: Changes) -> RunStart:
    """Return the command that takes a run up, with the old one's id; `successes` are the outputs that it made.

    Executed are, of the nodes in its scope: those that did not succeed, those whose params or inputs changed, the named
    one, and all that depend on any of these. What succeeded besides is given, and so is what the old run was given for
    nodes out of its scope; sources among these follow changed params and inputs.

    Raises InvalidInputError `unknown_node`, `node_not_selected`, or what is wrong with the edited graph.
    """
    if problems := list(_unknown_nodes(old.graph, changes)):
        raise InvalidInputError(*problems)
    graph = _edited(old.graph, changes.params)
    if problems := find_problems(graph) or list(_unselected_nodes(old, changes)):
        raise InvalidInputError(*problems)
    edited = old.model_copy(
        update={
            "graph": graph,
            "inputs": {**old.inputs, **changes.inputs},
            "options": override(old.options, changes.options),
            "resumed_from": old.run_id,
        }
    )
    return edited.model_copy(update={"given": _given(old, edited, successes, changes)})


def replay(old: RunStart) -> RunStart:
    """Return the command that does the same again, with the old one's id, from the start."""
    return old.model_copy(update={"given": _own_given(old), "resumed_from": None})


def override(old: RunOptions, new: RunOptions) -> RunOptions:
    """Return the old options, except for what was set in the new ones, field by field."""
    return RunOptions.model_validate(_merged(old.model_dump(), new.model_dump(exclude_unset=True)))


def _merged(old: JsonValue, new: JsonValue) -> JsonValue:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return old | {name: _merged(old.get(name), value) for name, value in new.items()}


def _given(old: RunStart, edited: RunStart, successes: Mapping[str, Value], changes: Changes) -> dict[str, Value]:
    scope, own = _scope(old), _own_given(old)
    kept = own if changes.afresh else {**successes, **own}
    touched = _touched(old, edited)
    again = _executed_again(edited, own, touched | (scope - kept.keys()) | _named(changes))
    reused = {node_id: output for node_id, output in kept.items() if node_id in scope - again}
    return {**_outside(edited, own, touched), **reused}


def _executed_again(edited: RunStart, own: Mapping[str, Value], roots: frozenset[str]) -> frozenset[str]:
    """Return the roots and all that depend on them; nothing leads into nodes whose outputs the run was given."""
    part = Selection(edited.scope, edited.selected, own).restrict(edited.graph)
    return frozenset(descendants(part, roots))


def _outside(edited: RunStart, own: Mapping[str, Value], touched: frozenset[str]) -> dict[str, Value]:
    """Return the outputs of nodes out of the scope: as they were given, or as a source gives them now."""
    outside = {node_id: output for node_id, output in own.items() if node_id not in _scope(edited)}
    for node in edited.graph.nodes:
        if node.id in touched & outside.keys():
            del outside[node.id]
            if output := current_output(node, edited.inputs):
                outside[node.id] = output
    return outside


def _scope(command: RunStart) -> frozenset[str]:
    """Return the nodes that a command is about, whether it executes them or was given their outputs."""
    return frozenset(
        (node.id for node in command.graph.nodes) if command.scope is Scope.FULL else command.selected,
    )


def _own_given(command: RunStart) -> dict[str, Value]:
    """Return what a run was given when it was asked for, without what it reused of another one."""
    if command.resumed_from is None:
        return command.given
    scope = _scope(command)
    return {node_id: output for node_id, output in command.given.items() if node_id not in scope}


def _touched(old: RunStart, edited: RunStart) -> frozenset[str]:
    """Return the nodes whose params differ, and the sources whose inputs do."""
    changed = {name for name, value in edited.inputs.items() if old.inputs.get(name) != value}
    pairs = zip(old.graph.nodes, edited.graph.nodes, strict=True)
    return frozenset(
        after.id for before, after in pairs if before != after or not changed.isdisjoint(inputs_asked_by(after))
    )


def _named(changes: Changes) -> frozenset[str]:
    return frozenset({changes.from_node} if changes.from_node is not None else ())


def _edited(graph: WorkflowGraph, params: Mapping[str, Mapping[str, JsonValue]]) -> WorkflowGraph:
    nodes = tuple(_edited_node(node, params[node.id]) if node.id in params else node for node in graph.nodes)
    return graph.model_copy(update={"nodes": nodes})


def _edited_node(node: Node, params: Mapping[str, JsonValue]) -> Node:
    """Return the node with these params replaced; the same node where they say what it says already."""
    node_type = REGISTRY.get(node.type)
    fields = node_type.params.model_fields if node_type else {}
    names = {name: item.alias or name for name, item in fields.items()}
    before = {names.get(name, name): value for name, value in node.params.items()}
    after = before | {names.get(name, name): value for name, value in params.items()}
    return node if after == before else node.model_copy(update={"params": after})


def _unknown_nodes(graph: WorkflowGraph, changes: Changes) -> Iterator[Problem]:
    named = _named(changes) | changes.params.keys()
    for node_id in sorted(named - {node.id for node in graph.nodes}):
        yield Problem(
            code="unknown_node",
            message=f"the run has no node {node_id!r}",
            node_id=node_id,
            fix="name a node of its workflow",
        )


def _unselected_nodes(old: RunStart, changes: Changes) -> Iterator[Problem]:
    """Yield a problem for each named node that the run does not execute; sources may be edited: they are values."""
    scope = _scope(old)
    for node in old.graph.nodes:
        is_edited = node.id in changes.params and not REGISTRY[node.type].is_source
        if node.id not in scope and (is_edited or node.id == changes.from_node):
            yield Problem(
                code="node_not_selected",
                message="the node was not selected when the run was started, so it is not executed",
                node_id=node.id,
                fix="execute the workflow with another selection",
            )
