"""Validation of workflows: all problems at once, each with the node or edge it concerns."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from pydantic import ValidationError

from shared.contracts.errors import InvalidInputError, Problem
from shared.contracts.graph import MAX_NODES, Edge, Node, WorkflowGraph
from shared.contracts.node_type import NodeType, Params
from shared.contracts.node_types import REGISTRY, RequestInputsParams, UploadImageParams
from shared.contracts.scopes import Selection, find_selection_problems
from shared.contracts.values import Value, ValueType

EVERYTHING = Selection()


def find_problems(graph: WorkflowGraph) -> list[Problem]:
    """Return everything that is wrong with a graph by itself; an empty list means that it can be saved."""
    nodes = [_read(node) for node in graph.nodes]
    return [
        *_count_problems(graph),
        *(problem for node in nodes for problem in node.problems),
        *_edge_problems(graph.edges, nodes),
        *_missing_inputs(graph.edges, nodes),
        *_cycles(graph),
    ]


def find_start_problems(
    graph: WorkflowGraph, inputs: Mapping[str, Value], selection: Selection = EVERYTHING
) -> list[Problem]:
    """Return what keeps a graph from being started with these inputs; empty means that it can run."""
    if problems := find_problems(graph) or find_selection_problems(graph, selection):
        return problems
    executed = selection.executed(graph)
    nodes = [node for node in graph.nodes if node.id in executed]
    return [*_supplied_problems(_asked_inputs(graph), inputs), *find_unsupplied(nodes, inputs)]


def ensure_startable(graph: WorkflowGraph, inputs: Mapping[str, Value], selection: Selection = EVERYTHING) -> None:
    """Raise InvalidInputError with every problem that keeps a graph from being started."""
    if problems := find_start_problems(graph, inputs, selection):
        raise InvalidInputError(*problems)


def inputs_asked_by(node: Node) -> dict[str, ValueType]:
    """Return what a run may be started with for a valid node: field or node id, and type; nothing for most nodes."""
    node_type = REGISTRY[node.type]
    params = node_type.read_params(node.params)
    if isinstance(params, RequestInputsParams):
        return {item.name: ValueType(item.type) for item in params.fields}
    return {node.id: node_type.output} if node_type.is_source else {}


def find_unsupplied(nodes: Iterable[Node], inputs: Mapping[str, Value]) -> Iterator[Problem]:
    """Yield what must still be supplied so that these valid nodes have all that they ask for."""
    for node in nodes:
        params = REGISTRY[node.type].read_params(node.params)
        if isinstance(params, RequestInputsParams):
            for item in params.fields:
                if item.required and item.default is None and item.name not in inputs:
                    yield _not_supplied(item.name, node.id, item.type)
        elif isinstance(params, UploadImageParams) and not params.asset and node.id not in inputs:
            yield _url_problem(node.id) if params.image_url else _not_supplied(node.id, node.id, "image")


def _count_problems(graph: WorkflowGraph) -> Iterator[Problem]:
    if not graph.nodes:
        yield Problem(code="no_nodes", message="the workflow has no nodes", fix="add at least one node")
    if len(graph.nodes) > MAX_NODES:
        yield Problem(
            code="too_many_nodes",
            message=f"the workflow has {len(graph.nodes)} nodes, more than the limit of {MAX_NODES}",
            fix="split it into several workflows",
        )
    for node_id, count in Counter(node.id for node in graph.nodes).items():
        if count > 1:
            yield Problem(
                code="duplicate_id",
                message=f"{count} nodes have the id {node_id!r}",
                node_id=node_id,
                fix="give each node an id of its own",
            )


@dataclass(frozen=True, slots=True)
class _Read:
    """A node as it can be read: its type, None if that is unknown, its params, None if they are invalid, and why."""

    node: Node
    type: NodeType | None
    params: Params | None = None
    problems: Sequence[Problem] = ()


def _read(node: Node) -> _Read:
    node_type = REGISTRY.get(node.type)
    if node_type is None:
        return _Read(node, None, problems=[_unknown_type(node)])
    unnamed = [_unnamed_model(node)] if node.cache and node_type.metered and not node.params.get("model") else []
    try:
        return _Read(node, node_type, node_type.read_params(node.params), unnamed)
    except ValidationError as err:
        return _Read(node, node_type, problems=[*_invalid_params(node, err), *unnamed])


def _unknown_type(node: Node) -> Problem:
    return Problem(
        code="unknown_type",
        message=f"there is no node type {node.type!r}",
        node_id=node.id,
        fix=f"known types: {', '.join(REGISTRY)}",
    )


def _invalid_params(node: Node, err: ValidationError) -> Iterator[Problem]:
    for error in err.errors(include_input=False, include_url=False):
        path = ".".join(str(part) for part in ("params", *error["loc"]))
        yield Problem(code="invalid_params", message=error["msg"], where=path, node_id=node.id)


def _unnamed_model(node: Node) -> Problem:
    return Problem(
        code="cache_needs_model",
        message="an answer can be reused only where the model is named that it comes from",
        where="params.model",
        node_id=node.id,
        fix="name the model, or do not set cache",
    )


def _edge_problems(edges: Iterable[Edge], nodes: Iterable[_Read]) -> Iterator[Problem]:
    known = {read.node.id: read for read in nodes}
    taken: set[tuple[str, str]] = set()
    for edge in edges:
        missing = [node_id for node_id in (edge.source, edge.target) if node_id not in known]
        for node_id in missing:
            yield Problem(
                code="unknown_node", message=f"there is no node {node_id!r}", where=str(edge), node_id=node_id
            )
        if missing:
            continue
        yield from _handle_problems(edge, known[edge.source], known[edge.target])
        yield from _taken_problems(edge, known[edge.target], taken)


def _handle_problems(edge: Edge, source: _Read, target: _Read) -> Iterator[Problem]:
    given = _output_type(edge, source)
    wanted = _input_type(edge, target)
    if isinstance(given, Problem):
        yield given
    if isinstance(wanted, Problem):
        yield wanted
    if not isinstance(given, ValueType) or not isinstance(wanted, ValueType):
        return
    if wanted not in {given, ValueType.ANY}:
        yield Problem(
            code="type_mismatch",
            message=f"{wanted} is expected, but {source.node.label} gives {given}",
            where=str(edge),
            node_id=target.node.id,
        )


def _output_type(edge: Edge, source: _Read) -> ValueType | Problem | None:
    """Return the type, or what is wrong; None where the node's own problems are reported already."""
    if source.type is None or source.params is None:
        return None
    handles = source.type.output_handles(source.params)
    return handles.get(edge.source_handle) or _unknown_handle(edge, source, edge.source_handle, handles)


def _input_type(edge: Edge, target: _Read) -> ValueType | Problem | None:
    if target.type is None:
        return None
    handle = target.type.input_handle(edge.target_handle)
    return handle.type if handle else _unknown_handle(edge, target, edge.target_handle, target.type.inputs)


def _unknown_handle(edge: Edge, read: _Read, handle: str, known: Iterable[str]) -> Problem:
    return Problem(
        code="unknown_handle",
        message=f"the node has no handle {handle!r}",
        where=str(edge),
        node_id=read.node.id,
        fix=f"known handles: {', '.join(known) or 'none'}",
    )


def _taken_problems(edge: Edge, target: _Read, taken: set[tuple[str, str]]) -> Iterator[Problem]:
    handle = target.type.input_handle(edge.target_handle) if target.type else None
    key = (target.node.id, edge.target_handle)
    if handle and not handle.multiple and key in taken:
        yield Problem(
            code="duplicate_input",
            message="more than one edge ends at a handle that takes one value",
            where=str(edge),
            node_id=target.node.id,
        )
    taken.add(key)


def _missing_inputs(edges: Iterable[Edge], nodes: Iterable[_Read]) -> Iterator[Problem]:
    connected = {(edge.target, edge.target_handle) for edge in edges}
    for read in nodes:
        for name, handle in read.type.inputs.items() if read.type else ():
            filled = handle.param is not None and bool(getattr(read.params, handle.param, None))
            if handle.required and not filled and (read.node.id, name) not in connected:
                yield Problem(
                    code="missing_input",
                    message=f"the required input {name!r} is neither connected nor filled in",
                    node_id=read.node.id,
                )


def _cycles(graph: WorkflowGraph) -> Iterator[Problem]:
    """Yield a problem for each of a set of cycles that have no node in common."""
    predecessors: dict[str, set[str]] = {node.id: set() for node in graph.nodes}
    for edge in graph.edges:
        if edge.source in predecessors and edge.target in predecessors:
            predecessors[edge.target].add(edge.source)
    while True:
        try:
            TopologicalSorter(predecessors).prepare()
        except CycleError as err:
            cycle: list[str] = err.args[1]
            yield Problem(code="cycle", message=f"nodes feed each other: {' -> '.join(cycle)}", node_id=cycle[0])
            found = set(cycle)
            predecessors = {key: value - found for key, value in predecessors.items() if key not in found}
        else:
            return


def _asked_inputs(graph: WorkflowGraph) -> dict[str, ValueType]:
    return {name: value_type for node in graph.nodes for name, value_type in inputs_asked_by(node).items()}


def _supplied_problems(asked: Mapping[str, ValueType], inputs: Mapping[str, Value]) -> Iterator[Problem]:
    for name, value in inputs.items():
        if name not in asked:
            yield Problem(
                code="unknown_input",
                message=f"the workflow asks for no input {name!r}",
                where=f"inputs.{name}",
                fix=f"it asks for: {', '.join(asked) or 'nothing'}",
            )
        elif asked[name] != value.type:
            yield Problem(
                code="type_mismatch",
                message=f"{asked[name]} is expected, but {value.type} was supplied",
                where=f"inputs.{name}",
            )


def _not_supplied(name: str, node_id: str, value_type: str) -> Problem:
    return Problem(
        code="missing_input",
        message=f"the workflow needs the {value_type} {name!r}, which was not supplied",
        where=f"inputs.{name}",
        node_id=node_id,
        fix=f"supply it when the run is started (--{'image' if value_type == 'image' else 'set'} {name}=...)",
    )


def _url_problem(node_id: str) -> Problem:
    return Problem(
        code="url_not_allowed",
        message="pictures are not fetched from addresses",
        where="params.imageUrl",
        node_id=node_id,
        fix=f"upload the picture and supply it when the run is started (--image {node_id}=FILE)",
    )
