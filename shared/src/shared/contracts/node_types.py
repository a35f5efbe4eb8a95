"""The registry of node types: the one place that validation, API, command line and canvas read.

Adding a node type is a params model, a pure function and one registration: of the types that come with Weft, below;
of any other, as an entry point of its package (docs/adding-a-node-type.md).
"""

from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Literal

from pydantic import Field

from shared.contracts.crop_params import CropImageParams
from shared.contracts.errors import invalid
from shared.contracts.llm_params import LlmParams
from shared.contracts.node_type import InputHandle, NodeType, Params, Supplied
from shared.contracts.values import AssetRef, ImageValue, RecordValue, TextValue, Value, ValueType

ENTRY_POINTS = "weft.node_types"


class TextParams(Params):
    """A fixed text, unless the run supplies one."""

    text: str = ""


class RequestField(Params):
    """A value that is asked for when a run starts."""

    name: str = Field(min_length=1)
    type: Literal["text", "image"] = "text"
    label: str | None = None
    required: bool = True
    default: str | None = None


class RequestInputsParams(Params):
    """The fields that a run is to be started with; each is an output handle of the node."""

    fields: tuple[RequestField, ...] = ()

    def more_outputs(self) -> Mapping[str, ValueType]:
        """Return an output handle for each field."""
        return {item.name: ValueType(item.type) for item in self.fields}


class UploadImageParams(Params):
    """A stored picture, unless the run supplies one. `image_url` is read from old graphs, never fetched."""

    asset: AssetRef | None = None
    image_url: str | None = None


class ResponseParams(Params):
    """A response needs no settings: the names of its input handles name the results."""


def _evaluate_text(supplied: Supplied) -> Value:
    assert isinstance(supplied.params, TextParams)
    return supplied.run_inputs.get(supplied.node_id) or TextValue(text=supplied.params.text)


def _evaluate_upload_image(supplied: Supplied) -> Value:
    assert isinstance(supplied.params, UploadImageParams)
    if given := supplied.run_inputs.get(supplied.node_id):
        return given
    if supplied.params.asset:
        return ImageValue(asset=supplied.params.asset)
    raise invalid("missing_input", "no picture was supplied", node_id=supplied.node_id)


def _evaluate_request_inputs(supplied: Supplied) -> Value:
    assert isinstance(supplied.params, RequestInputsParams)
    asked = supplied.params.fields
    values = {item.name: TextValue(text=item.default) for item in asked if item.default is not None}
    given = {item.name: supplied.run_inputs[item.name] for item in asked if item.name in supplied.run_inputs}
    return RecordValue(fields={**values, **given})


def _evaluate_response(supplied: Supplied) -> Value:
    return RecordValue(fields={name: values[0] for name, values in supplied.inputs.items() if values})


def _installed_types() -> Iterator[NodeType]:
    """Yield the types that installed packages register; raise InvalidInputError `invalid_node_type`."""
    for entry_point in entry_points(group=ENTRY_POINTS):
        node_type = entry_point.load()
        if not isinstance(node_type, NodeType) or node_type.name != entry_point.name:
            raise invalid(
                "invalid_node_type",
                f"{entry_point.value} is no node type of the name {entry_point.name!r}",
                where=f"entry point {ENTRY_POINTS}",
                fix="name the entry point like the NodeType that it refers to, or uninstall its package",
            )
        yield node_type


def _registry(*node_types: NodeType) -> Mapping[str, NodeType]:
    registry: dict[str, NodeType] = {}
    for node_type in node_types:
        if node_type.name in registry:
            raise invalid(
                "node_type_conflict",
                f"there are two node types of the name {node_type.name!r}",
                where=f"entry point {ENTRY_POINTS}",
                fix="uninstall one of the packages that register it",
            )
        registry[node_type.name] = node_type
    return MappingProxyType(registry)


_BUILT_IN = (
    NodeType(
        name="text",
        title="Text",
        params=TextParams,
        output=ValueType.TEXT,
        evaluate=_evaluate_text,
        old_names=("textNode",),
    ),
    NodeType(
        name="request_inputs",
        title="Request inputs",
        params=RequestInputsParams,
        output=ValueType.RECORD,
        evaluate=_evaluate_request_inputs,
        old_names=("requestInputs",),
    ),
    NodeType(
        name="upload_image",
        title="Upload image",
        params=UploadImageParams,
        output=ValueType.IMAGE,
        evaluate=_evaluate_upload_image,
        old_names=("uploadImage",),
    ),
    NodeType(
        name="crop_image",
        title="Crop image",
        params=CropImageParams,
        output=ValueType.IMAGE,
        inputs={"image": InputHandle(ValueType.IMAGE, required=True)},
        queue="jobs.crop_image",
        timeout=60.0,
        version=2,
        cache=True,
        old_names=("cropImage",),
        old_params={"xPercent": "x", "yPercent": "y", "widthPercent": "width", "heightPercent": "height"},
        old_handles={"image_url": "image"},
    ),
    NodeType(
        name="llm",
        title="Ask a model",
        params=LlmParams,
        output=ValueType.TEXT,
        inputs={
            "system_prompt": InputHandle(ValueType.TEXT, param="system_prompt"),
            "user_message": InputHandle(ValueType.TEXT, required=True, param="user_message"),
            "texts": InputHandle(ValueType.TEXT, multiple=True),
            "images": InputHandle(ValueType.IMAGE, multiple=True),
        },
        queue="jobs.llm",
        version=2,
        metered=True,
        labels_matter=True,
        old_names=("runLLM",),
        old_handles={"image": "images", "image_url": "images"},
    ),
    NodeType(
        name="response",
        title="Response",
        params=ResponseParams,
        output=ValueType.RECORD,
        open_inputs=ValueType.ANY,
        evaluate=_evaluate_response,
    ),
)

REGISTRY: Mapping[str, NodeType] = _registry(*_BUILT_IN, *_installed_types())
WORKER_TYPES = tuple(node_type for node_type in REGISTRY.values() if node_type.queue)
CURRENT_NAMES: Mapping[str, str] = MappingProxyType(
    {old: item.name for item in REGISTRY.values() for old in item.old_names}
)
