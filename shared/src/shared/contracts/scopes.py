"""Which nodes a run consists of: those it executes, and those whose outputs it was given."""

from collections.abc import Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from shared.contracts.errors import Problem
from shared.contracts.graph import WorkflowGraph
from shared.contracts.node_types import REGISTRY
from shared.contracts.run_options import Scope
from shared.contracts.values import Value


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a workflow is to be executed; the outputs that are `given` stand for the nodes they belong to."""

    scope: Scope = Scope.FULL
    selected: tuple[str, ...] = ()
    given: Mapping[str, Value] | None = None

    def executed(self, graph: WorkflowGraph) -> frozenset[str]:
        """Return the ids of the nodes to execute."""
        wanted = {node.id for node in graph.nodes} if self.scope is Scope.FULL else set(self.selected)
        return frozenset(wanted - (self.given or {}).keys())

    def lacking(self, graph: WorkflowGraph) -> tuple[str, ...]:
        """Return the ids of the nodes whose outputs are needed, but are neither given nor going to be made."""
        executed = self.executed(graph)
        needed = {edge.source for edge in graph.edges if edge.target in executed}
        lacking = needed - executed - (self.given or {}).keys()
        return tuple(node.id for node in graph.nodes if node.id in lacking)

    def restrict(self, graph: WorkflowGraph) -> WorkflowGraph:
        """Return the part of a graph that a run consists of; nothing leads into nodes whose outputs are given."""
        executed, given = self.executed(graph), self.given or {}
        if not given and len(executed) == len(graph.nodes):
            return graph
        nodes = tuple(node for node in graph.nodes if node.id in executed or node.id in given)
        edges = tuple(edge for edge in graph.edges if edge.target in executed)
        return graph.model_copy(update={"nodes": nodes, "edges": edges})


def find_selection_problems(graph: WorkflowGraph, selection: Selection) -> list[Problem]:
    """Return what is wrong with a selection of a valid graph."""
    return [
        *_shape_problems(selection),
        *_unknown_nodes(graph, {*selection.selected, *(selection.given or {})}),
        *_given_problems(graph, selection.given or {}),
        *_lacking_problems(graph, selection),
    ]


def descendants(graph: WorkflowGraph, nodes: Collection[str]) -> AbstractSet[str]:
    """Return these nodes and all that depend on them."""
    successors: dict[str, list[str]] = {}
    for edge in graph.edges:
        successors.setdefault(edge.source, []).append(edge.target)
    found, remaining = set(nodes), list(nodes)
    while remaining:
        following = [node_id for node_id in successors.get(remaining.pop(), ()) if node_id not in found]
        found.update(following)
        remaining += following
    return found


def _shape_problems(selection: Selection) -> Iterator[Problem]:
    count = len(selection.selected)
    fits = {Scope.FULL: count == 0, Scope.SINGLE: count == 1, Scope.SELECTED: count > 0}
    if not fits[selection.scope]:
        yield Problem(
            code="invalid_scope",
            message=f"{count} nodes are selected for the scope {selection.scope}",
            where="selected",
            fix="full takes none, single takes one, selected takes one or more",
        )


def _unknown_nodes(graph: WorkflowGraph, named: AbstractSet[str]) -> Iterator[Problem]:
    for node_id in sorted(named - {node.id for node in graph.nodes}):
        yield Problem(code="unknown_node", message=f"there is no node {node_id!r}", node_id=node_id)


def _given_problems(graph: WorkflowGraph, given: Mapping[str, Value]) -> Iterator[Problem]:
    for node in graph.nodes:
        value = given.get(node.id)
        if value and value.type != REGISTRY[node.type].output:
            yield Problem(
                code="type_mismatch",
                message=f"the node gives {REGISTRY[node.type].output}, but {value.type} was given as its output",
                node_id=node.id,
            )


def _lacking_problems(graph: WorkflowGraph, selection: Selection) -> Iterator[Problem]:
    for node_id in selection.lacking(graph):
        yield Problem(
            code="missing_output",
            message="the output of this node is needed, but the node is not selected and has never succeeded",
            node_id=node_id,
            fix="select the node, too; or run it before; or give its output",
        )
