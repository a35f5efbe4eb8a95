"""The workflow graph: the shape that React Flow saves, and that the predecessor saved.

The predecessor's graphs are brought to today's names while they are read, so nothing behind this module
knows that others existed.
"""

from collections.abc import Mapping
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from shared.contracts.base import SCHEMA_VERSION, Contract
from shared.contracts.errors import InvalidInputError, Problem
from shared.contracts.nesting import JsonObject
from shared.contracts.node_type import OUTPUT, NodeType
from shared.contracts.node_types import CURRENT_NAMES, REGISTRY
from shared.contracts.retries import RetryPolicy

MAX_NODES = 10_000
MAX_ID_BYTES = 128
MAX_TIMEOUT = 25 * 60.0  # seconds; RabbitMQ takes a job back that is not acknowledged within 30 minutes

_Object = Mapping[str, Any]


def _current_type(raw_type: object) -> str:
    return CURRENT_NAMES.get(str(raw_type), str(raw_type))


def _params_from_data(node_type: NodeType | None, data: _Object) -> dict[str, Any]:
    """Return what React Flow's `data` holds of a type's params; the rest of it is the canvas's own."""
    known = {name: value for name, value in data.items() if value is not None}
    if node_type is None:
        return known
    renamed = {node_type.old_params.get(name, name): value for name, value in known.items()}
    return {name: value for name, value in renamed.items() if name in node_type.param_names}


def _fits_message_ids(node_id: str) -> str:
    # Part of each message's id, which AMQP limits to 255 bytes.
    if len(node_id.encode()) > MAX_ID_BYTES:
        raise ValueError(f"an id may have {MAX_ID_BYTES} bytes at most")
    return node_id


class Position(Contract):
    """Where a node is drawn on the canvas."""

    x: float
    y: float


class Node(Contract):
    """One step of a workflow. React Flow keeps a node's parameters in `data`; both names are read.

    `retry`, `timeout` (seconds of one attempt with a worker) and `cache` (whether an earlier output for equal input may
    be reused) override what the node's type says.
    """

    id: Annotated[str, Field(min_length=1), AfterValidator(_fits_message_ids)]
    type: str = Field(min_length=1)
    name: str | None = None
    params: JsonObject = {}
    retry: RetryPolicy | None = None
    timeout: float | None = Field(default=None, gt=0, le=MAX_TIMEOUT)
    cache: bool | None = None
    position: Position | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_react_flow(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping) or "type" not in raw:
            return cast("Any", raw)
        node = {**cast("_Object", raw), "type": _current_type(cast("_Object", raw)["type"])}
        data = node.get("data")
        if "params" not in node and isinstance(data, Mapping):
            content = cast("_Object", data)
            node["params"] = _params_from_data(REGISTRY.get(node["type"]), content)
            node["name"] = node.get("name") or content.get("label")
        return node

    @property
    def label(self) -> str:
        """What people call the node."""
        return self.name or self.id


def _instead_of_null(default: str) -> BeforeValidator:
    """Have null mean the default: that is how React Flow writes a handle without a name."""

    def read(raw: object) -> object:
        return default if raw is None else raw

    return BeforeValidator(read)


class Edge(Contract):
    """A value's way from an output handle to an input handle."""

    id: str | None = None
    source: str
    source_handle: Annotated[str, _instead_of_null(OUTPUT)] = OUTPUT
    target: str
    target_handle: Annotated[str, _instead_of_null("")] = ""

    def __str__(self) -> str:
        return f"edge {self.source}.{self.source_handle} -> {self.target}.{self.target_handle}"


class WorkflowGraph(Contract):
    """Nodes and edges. That it reads says nothing of its being sound: see `shared.contracts.validation`."""

    schema_version: int = SCHEMA_VERSION
    name: str | None = None
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...] = ()

    @model_validator(mode="after")
    def _read_old_handles(self) -> "WorkflowGraph":
        types = {node.id: REGISTRY.get(node.type) for node in self.nodes}
        edges = tuple(_with_current_handle(edge, types.get(edge.target)) for edge in self.edges)
        return self if edges == self.edges else self.model_copy(update={"edges": edges})


def _with_current_handle(edge: Edge, target: NodeType | None) -> Edge:
    if target is None or edge.target_handle not in target.old_handles:
        return edge
    return edge.model_copy(update={"target_handle": target.old_handles[edge.target_handle]})


def read_graph(raw: object) -> WorkflowGraph:
    """Return the graph in `raw` (parsed JSON); raise InvalidInputError naming every field that does not fit."""
    try:
        return WorkflowGraph.model_validate(raw)
    except ValidationError as err:
        problems = (
            Problem(
                code="invalid_workflow",
                message=f"the workflow does not have the right shape: {error['msg']}",
                where=".".join(str(part) for part in error["loc"]) or "workflow",
                fix="a workflow is a JSON object with `nodes` and `edges`",
            )
            for error in err.errors(include_input=False, include_url=False)
        )
        raise InvalidInputError(*problems) from err
