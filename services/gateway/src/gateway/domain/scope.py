"""Where the outputs come from that a run needs of nodes it does not execute."""

from collections.abc import Mapping
from dataclasses import replace

from shared.contracts.errors import InvalidInputError, Problem
from shared.contracts.graph import Node, WorkflowGraph
from shared.contracts.node_type import Supplied
from shared.contracts.node_types import REGISTRY
from shared.contracts.scopes import Selection
from shared.contracts.validation import find_unsupplied, inputs_asked_by
from shared.contracts.values import TextValue, Value


def current_output(node: Node, inputs: Mapping[str, Value]) -> Value | None:
    """Return what a source of a valid graph would give now; None where it holds no value, or is no source."""
    node_type = REGISTRY[node.type]
    if not node_type.is_source or not node_type.evaluate or any(find_unsupplied([node], inputs)):
        return None
    output = node_type.evaluate(Supplied(node.id, node_type.read_params(node.params), {}, inputs))
    is_unset = output == TextValue(text="") and node.id not in inputs
    return None if is_unset else output


def with_current_sources(graph: WorkflowGraph, inputs: Mapping[str, Value], selection: Selection) -> Selection:
    """Return the selection, given also what lacking sources hold: a source is a value, and its newest is this one.

    Raises InvalidInputError `missing_input` for a source that was supplied in part: an older output would ignore that.
    """
    lacking = _lacking(graph, selection)
    if problems := [problem for node in lacking if _is_supplied(node, inputs) for problem in _unsupplied(node, inputs)]:
        raise InvalidInputError(*problems)
    current = {node.id: output for node in lacking if (output := current_output(node, inputs))}
    return _given_also(selection, current)


def with_earlier_outputs(graph: WorkflowGraph, selection: Selection, outputs: Mapping[str, Value]) -> Selection:
    """Return the selection, given also those outputs of earlier runs that it lacks and that fit the nodes of today."""
    fitting = {
        node.id: outputs[node.id]
        for node in _lacking(graph, selection)
        if node.id in outputs and outputs[node.id].type == REGISTRY[node.type].output
    }
    return _given_also(selection, fitting)


def _lacking(graph: WorkflowGraph, selection: Selection) -> list[Node]:
    lacking = set(selection.lacking(graph))
    return [node for node in graph.nodes if node.id in lacking]


def _is_supplied(node: Node, inputs: Mapping[str, Value]) -> bool:
    return not inputs_asked_by(node).keys().isdisjoint(inputs)


def _unsupplied(node: Node, inputs: Mapping[str, Value]) -> list[Problem]:
    return list(find_unsupplied([node], inputs))


def _given_also(selection: Selection, outputs: Mapping[str, Value]) -> Selection:
    return replace(selection, given={**outputs, **(selection.given or {})})
