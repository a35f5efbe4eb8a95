"""Where the nodes of a graph stand in a drawing: each below the last of those it depends on; no I/O."""

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from shared.contracts.graph import WorkflowGraph


class Row(NamedTuple):
    """A line of the drawing: the lines that lead to the node, and its id."""

    guides: str
    node_id: str


def rows_of(graph: WorkflowGraph | None, node_ids: Sequence[str]) -> list[Row]:
    """Return a line for each node: sources first, what depends on others below them.

    A node with several inputs stands below the one that comes last. Without a graph (or for a graph that goes round in
    circles, which none does that was kept) there are no guides, and the order is the one given.
    """
    order = _in_order(_inputs(graph, node_ids))
    if order is None:
        return [Row("", node_id) for node_id in node_ids]
    children: dict[str | None, list[str]] = {}
    place = {node_id: number for number, node_id in enumerate(order)}
    inputs = _inputs(graph, node_ids)
    for node_id in order:
        parent = max(inputs[node_id], key=lambda other: place[other], default=None)
        children.setdefault(parent, []).append(node_id)
    return _drawn(children)


def _inputs(graph: WorkflowGraph | None, node_ids: Sequence[str]) -> dict[str, list[str]]:
    inputs: dict[str, list[str]] = {node_id: [] for node_id in node_ids}
    for edge in graph.edges if graph else ():
        if edge.source in inputs and edge.target in inputs:
            inputs[edge.target].append(edge.source)
    return inputs


def _in_order(inputs: Mapping[str, Sequence[str]]) -> list[str] | None:
    try:
        return list(TopologicalSorter(inputs).static_order())
    except CycleError:
        return None


def _drawn(children: Mapping[str | None, Sequence[str]]) -> list[Row]:
    """Return the lines, depth first; with a list of what is to come, since chains may be 10,000 nodes long."""
    rows: list[Row] = []
    roots = children.get(None, ())
    remaining = [(node_id, "", "") for node_id in reversed(roots)]
    while remaining:
        node_id, own, below = remaining.pop()
        rows.append(Row(own, node_id))
        following = children.get(node_id, ())
        last = len(following) - 1
        remaining += [
            (child, below + ("└─ " if number == last else "├─ "), below + ("   " if number == last else "│  "))
            for number, child in reversed(list(enumerate(following)))
        ]
    return rows
