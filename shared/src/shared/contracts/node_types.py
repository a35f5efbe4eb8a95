"""The registry of node types: the one place that validation, API, command line and canvas read.

Adding a node type is a params model, a pure function (here, or in a worker) and one entry in `REGISTRY`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, model_validator

from shared.contracts.base import Contract
from shared.contracts.errors import invalid
from shared.contracts.retries import RetryPolicy
from shared.contracts.run_options import Lane
from shared.contracts.values import AssetRef, ImageValue, RecordValue, TextValue, Value, ValueType

PERCENT_TOLERANCE = 1e-6
MAX_OUTPUT_TOKENS = 32_768
OUTPUT = "output"  # the output handle that every node type has


class Params(Contract):
    """Base of all params models. Unlike messages they refuse unknown fields, so that a typing error is seen."""

    model_config = ConfigDict(extra="forbid")


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


class UploadImageParams(Params):
    """A stored picture, unless the run supplies one. `image_url` is read from old graphs, never fetched."""

    asset: AssetRef | None = None
    image_url: str | None = None


class CropImageParams(Params):
    """A box on the upright picture; percent of its sides, or pixels."""

    x: float = Field(default=0, ge=0)
    y: float = Field(default=0, ge=0)
    width: float = Field(default=100, gt=0)
    height: float = Field(default=100, gt=0)
    unit: Literal["percent", "px"] = "percent"

    @model_validator(mode="after")
    def _stay_inside(self) -> Self:
        limit = 100 + PERCENT_TOLERANCE
        if self.unit == "percent" and (self.x + self.width > limit or self.y + self.height > limit):
            raise ValueError("the box reaches outside the picture: x + width and y + height may be 100 at most")
        return self


class LlmParams(Params):
    """A question to a vision model. Without `model` the worker's default model is asked."""

    model: str | None = None
    system_prompt: str = ""
    user_message: str = ""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_output_tokens: int = Field(default=1024, ge=1, le=MAX_OUTPUT_TOKENS)


class ResponseParams(Params):
    """A response needs no settings: the names of its input handles name the results."""


@dataclass(frozen=True, slots=True)
class InputHandle:
    """Where an edge may end. `param` names the field that a connected value overrides."""

    type: ValueType
    required: bool = False
    multiple: bool = False
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Supplied:
    """What an inline node may read: its params, what its edges brought, what the run was started with."""

    node_id: str
    params: Params
    inputs: Mapping[str, tuple[Value, ...]]
    run_inputs: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class NodeType:
    """Everything that is known about a type of node.

    Exactly one of `queue` (a worker executes the node) and `evaluate` (the orchestrator does, at once and
    purely) is set. `open_inputs` allows input handles of any name, of that type. `retry`, `timeout` (seconds of one
    attempt with a worker) and `cache` hold where a node does not say otherwise. `metered` types use models, which
    budgets limit. `version` grows whenever equal input may give another output. `labels_matter` where an output
    depends on what the nodes are called that the inputs come from.
    """

    name: str
    title: str
    params: type[Params]
    output: ValueType
    inputs: Mapping[str, InputHandle] = field(default_factory=dict[str, InputHandle])
    open_inputs: ValueType | None = None
    queue: str | None = None
    evaluate: Callable[[Supplied], Value] | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout: float = 300.0
    version: int = 1
    cache: bool = False
    metered: bool = False
    labels_matter: bool = False
    # What the predecessor called the type, its params and its handles; `shared.contracts.graph` reads them.
    old_names: tuple[str, ...] = ()
    old_params: Mapping[str, str] = field(default_factory=dict[str, str])
    old_handles: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def is_source(self) -> bool:
        """Whether its output is a value that somebody supplied: no work, and dependent on no other node."""
        return self.evaluate is not None and not self.inputs and not self.open_inputs

    def input_handle(self, name: str) -> InputHandle | None:
        """Return the input handle of that name, or None."""
        if name in self.inputs:
            return self.inputs[name]
        return InputHandle(self.open_inputs) if self.open_inputs and name else None

    def output_handles(self, params: Params) -> Mapping[str, ValueType]:
        """Return the output handles, which for `request_inputs` depend on its params."""
        if isinstance(params, RequestInputsParams):
            return {OUTPUT: self.output} | {item.name: ValueType(item.type) for item in params.fields}
        return {OUTPUT: self.output}

    @property
    def param_names(self) -> frozenset[str]:
        """The names of the params on the wire."""
        return frozenset(item.alias or name for name, item in self.params.model_fields.items())

    def job_queue(self, lane: Lane) -> str:
        """Return the name of the queue in which the type's jobs of a lane wait."""
        assert self.queue, f"{self.name} is executed by the orchestrator"
        return lane.name_in(self.queue)

    def read_params(self, params: Mapping[str, JsonValue]) -> Params:
        """Return the validated params; raise pydantic's ValidationError."""
        return self.params.model_validate(dict(params))


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


_TYPES = (
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

REGISTRY: Mapping[str, NodeType] = MappingProxyType({node_type.name: node_type for node_type in _TYPES})
WORKER_TYPES = tuple(node_type for node_type in _TYPES if node_type.queue)
CURRENT_NAMES: Mapping[str, str] = MappingProxyType({old: item.name for item in _TYPES for old in item.old_names})
