"""A workflow graph, indexed for execution; while a run goes on, at most a person edits the params of a node."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from pydantic import JsonValue

from shared.contracts.graph import Edge, Node, WorkflowGraph
from shared.contracts.node_type import OUTPUT, NodeType
from shared.contracts.node_types import REGISTRY
from shared.contracts.retries import RetryPolicy
from shared.contracts.values import RecordValue, Value


@dataclass(frozen=True, slots=True)
class Plan:
    """The nodes by id, the edges into each, and the distinct nodes behind each."""

    nodes: Mapping[str, Node]
    incoming: Mapping[str, tuple[Edge, ...]]
    successors: Mapping[str, tuple[str, ...]]

    def node_type(self, node_id: str) -> NodeType:
        """Return the type of a node of a valid graph."""
        return REGISTRY[self.nodes[node_id].type]

    def retry_policy(self, node_id: str) -> RetryPolicy:
        """Return the node's own policy, else that of its type."""
        return self.nodes[node_id].retry or self.node_type(node_id).retry

    def timeout(self, node_id: str) -> float:
        """Return how many seconds an attempt may take: the node's own, else that of its type."""
        return self.nodes[node_id].timeout or self.node_type(node_id).timeout

    def may_reuse(self, node_id: str) -> bool:
        """Tell whether an earlier output for equal input may be reused: the node's own word, else that of its type."""
        own = self.nodes[node_id].cache
        node_type = self.node_type(node_id)
        return node_type.queue is not None and (node_type.cache if own is None else own)

    def inputs_of(
        self, node_id: str, output_of: Callable[[str], Value | None]
    ) -> Mapping[str, Sequence[tuple[str, Value]]]:
        """Return what the edges bring into a node: by input handle, in their order, each with its source's id."""
        inputs: dict[str, list[tuple[str, Value]]] = {}
        for edge in self.incoming[node_id]:
            output = output_of(edge.source)
            value = value_at(output, edge.source_handle) if output else None
            if value:
                inputs.setdefault(edge.target_handle, []).append((edge.source, value))
        return inputs

    def predecessors(self, node_id: str) -> AbstractSet[str]:
        """Return the distinct nodes that feed a node."""
        return {edge.source for edge in self.incoming[node_id]}

    def with_params(self, node_id: str, params: Mapping[str, JsonValue]) -> "Plan":
        """Return the plan with other params for a node."""
        edited = self.nodes[node_id].model_copy(update={"params": params})
        return replace(self, nodes={**self.nodes, node_id: edited})


def make_plan(graph: WorkflowGraph) -> Plan:
    """Index a valid graph."""
    incoming: dict[str, list[Edge]] = {node.id: [] for node in graph.nodes}
    successors: dict[str, dict[str, None]] = {node.id: {} for node in graph.nodes}
    for edge in graph.edges:
        incoming[edge.target].append(edge)
        successors[edge.source][edge.target] = None
    return Plan(
        nodes={node.id: node for node in graph.nodes},
        incoming={node_id: tuple(edges) for node_id, edges in incoming.items()},
        successors={node_id: tuple(following) for node_id, following in successors.items()},
    )


def value_at(output: Value, handle: str) -> Value | None:
    """Return what an output handle gives; None where an optional field was not supplied."""
    if handle != OUTPUT and isinstance(output, RecordValue):
        return output.fields.get(handle)
    return output
