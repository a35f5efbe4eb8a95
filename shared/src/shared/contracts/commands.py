"""The commands on the broker, imperative by name (`run.start`), and the jobs of workers."""

import json
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, JsonValue, TypeAdapter

from shared.contracts.base import QUIET, Contract
from shared.contracts.envelope import Message, NodeMessage
from shared.contracts.graph import WorkflowGraph
from shared.contracts.labels import Metadata, Tags
from shared.contracts.nesting import JsonObject
from shared.contracts.owners import Owner
from shared.contracts.run_options import Lane, RunOptions, Scope
from shared.contracts.values import Value

MAX_START_BYTES = 4 * 1024 * 1024  # of a RunStart; what tells of the run's start holds it, and outputs besides


class RunStart(Message):
    """Start a run of a graph.

    `run_id` is made by the sender; sending it again starts nothing new. `inputs` are the values that the graph
    asks for: by field name of a `request_inputs` node, or by id of an `upload_image` or `text` node.
    `trigger_run_id` is the caller's own name for the run: no other run of the same owner can have it. Without an
    `owner`, a run is nobody's: at the gateway only keys with the scope `admin` see it.

    Where `scope` is not `full`, only the nodes in `selected` are executed. `given` are outputs, by node id: a node
    with a given output is not executed. Every node that feeds an executed one must be executed or given.
    `resumed_from` is the run that the given outputs come from. `tags` and `metadata` change nothing about what is done.
    """

    kind: Literal["run.start"] = "run.start"
    graph: WorkflowGraph
    inputs: dict[str, Value] = {}
    workflow_id: UUID | None = None
    workflow_version: int | None = None
    trigger_run_id: str | None = Field(default=None, min_length=1, max_length=200)
    scope: Scope = Scope.FULL
    selected: tuple[str, ...] = ()
    given: dict[str, Value] = {}
    resumed_from: UUID | None = None
    options: RunOptions = RunOptions()
    owner: Owner | None = None
    tags: Tags = ()
    metadata: Metadata = {}

    @property
    def trigger_key(self) -> str | None:
        """The `trigger_run_id` as it is told apart from those of other owners; None where there is none."""
        return self._of_owner(self.trigger_run_id)

    @property
    def concurrency_key(self) -> str | None:
        """The key of `options.concurrency` as it is told apart from those of other owners; None where there is none."""
        limit = self.options.concurrency
        return self._of_owner(limit.key if limit else None)

    def _of_owner(self, name: str | None) -> str | None:
        return name if name is None or self.owner is None else f"owner:{self.owner}:{name}"

    @property
    def digest(self) -> str:
        """A digest that is equal for commands that ask for the same, whatever the ids of their runs."""
        # What came later and is not used is left out: the digest is then what it was before.
        later = {"owner": self.owner, "tags": self.tags, "metadata": self.metadata}
        left_out = {"run_id", *(name for name, value in later.items() if not value)}
        content = self.model_dump(mode="json", exclude=left_out)
        return sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class RunCancel(Message):
    """End a run: nothing more of it is started, what is under way is told to stop, what has succeeded is kept."""

    kind: Literal["run.cancel"] = "run.cancel"
    reason: str | None = Field(default=None, max_length=1_000)


class RunAdmit(Message):
    """Let a queued run begin: the orchestrator's word to itself, when its turn has come."""

    kind: Literal["run.admit"] = "run.admit"
    at: datetime


class RunExpire(Message):
    """End a run whose time is over: the orchestrator's word to itself."""

    kind: Literal["run.expire"] = "run.expire"
    at: datetime


class NodeRetry(NodeMessage):
    """Make an attempt at a node now: the orchestrator's word to itself, when the time has come."""

    kind: Literal["node.retry"] = "node.retry"
    at: datetime


class NodeReplay(NodeMessage):
    """Make another attempt at a node that failed, in a run that is still open: a person's word.

    For instance when its job was dead-lettered and the cause is mended. `attempt` is the one that failed; a word about
    any other is without effect. `params`, if given, replace the node's params as a whole.
    """

    kind: Literal["node.replay"] = "node.replay"
    params: JsonObject | None = None


class NodeExpire(NodeMessage):
    """Give an attempt up whose time is over: the orchestrator's word to itself."""

    kind: Literal["node.expire"] = "node.expire"
    at: datetime


class NodeAbandon(NodeMessage):
    """Stop an attempt, or do not begin it: nobody waits for its result. Told to all workers of its type."""

    kind: Literal["node.abandon"] = "node.abandon"


class JobInput(Contract):
    """A value that an edge brought, and the label of the node that it came from."""

    source: str
    value: Value


class NodeExecute(NodeMessage):
    """A job: execute a node with these params and inputs (by input handle, in the order of the edges).

    It may take `timeout` seconds. No attempt follows the `last_attempt`, whatever comes of it. `workflow_id` is that of
    the run, if it is one of a saved workflow. `queued_at` is when the job was given out first.
    """

    kind: Literal["node.execute"] = "node.execute"
    workflow_id: UUID | None = None
    params: dict[str, JsonValue] = {}
    inputs: dict[str, tuple[JobInput, ...]] = {}
    last_attempt: bool = False
    timeout: float | None = None
    lane: Lane = Lane.NORMAL
    queued_at: datetime | None = None


RunCommand = RunStart | RunCancel | RunAdmit | RunExpire | NodeRetry | NodeReplay | NodeExpire
Command = Annotated[RunCommand, Field(discriminator="kind")]
COMMANDS: tuple[type[Message], ...] = (
    *(RunStart, RunCancel, RunAdmit, RunExpire),
    *(NodeRetry, NodeReplay, NodeExpire, NodeAbandon, NodeExecute),
)

read_command = TypeAdapter[RunCommand](Command, config=QUIET).validate_json
read_job = TypeAdapter[NodeExecute](NodeExecute).validate_json
read_abandon = TypeAdapter[NodeAbandon](NodeAbandon).validate_json
