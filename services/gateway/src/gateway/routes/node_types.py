"""GET /api/node-types."""

from fastapi import APIRouter

from gateway.views import InputHandleView, NodeTypeList, NodeTypeView
from shared.contracts.node_type import NodeType
from shared.contracts.node_types import REGISTRY

router = APIRouter(prefix="/api/node-types", tags=["node types"])


@router.get("", response_model_exclude_none=True)
async def list_node_types() -> NodeTypeList:
    """List all node types with their handles and the JSON schema of their params."""
    return NodeTypeList(node_types=tuple(map(_view, REGISTRY.values())))


def _view(node_type: NodeType) -> NodeTypeView:
    inputs = (
        InputHandleView(name=name, type=handle.type, required=handle.required, multiple=handle.multiple)
        for name, handle in node_type.inputs.items()
    )
    return NodeTypeView(
        name=node_type.name,
        title=node_type.title,
        executed_by="worker" if node_type.queue else "orchestrator",
        inputs=tuple(inputs),
        open_inputs=node_type.open_inputs,
        output=node_type.output,
        params=node_type.params.model_json_schema(),
    )
