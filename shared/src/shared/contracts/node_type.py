"""What a node type is: its params, its handles, and who executes it. The types themselves are in the registry."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pydantic import ConfigDict, JsonValue

from shared.contracts.base import Contract
from shared.contracts.retries import RetryPolicy
from shared.contracts.run_options import Lane
from shared.contracts.values import Value, ValueType

OUTPUT = "output"  # the output handle that every node type has


class Params(Contract):
    """Base of all params models. Unlike messages they refuse unknown fields, so that a typing error is seen."""

    model_config = ConfigDict(extra="forbid")

    def more_outputs(self) -> Mapping[str, ValueType]:
        """Return the output handles that a node with these params has besides `output`."""
        return {}


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
        return {OUTPUT: self.output, **params.more_outputs()}

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
