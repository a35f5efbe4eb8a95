"""Every request that the client makes, as a value: who sends it is another matter.

Each raises, once it is sent, InvalidInputError or UnavailableError with the gateway's own problems, and
UnavailableError `gateway_unreachable` or `gateway_not_understood` where no gateway answers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote
from uuid import UUID

from shared.client.requests import (
    BatchReply,
    BatchRequest,
    ExecuteRequest,
    NodeTypeList,
    PictureList,
    ReplayRequest,
    ResumeRequest,
    Timeline,
    Validation,
    Workflow,
    WorkflowPage,
)
from shared.contracts.base import Contract
from shared.contracts.dead_letters import DeadLetter, DeadLetterPage, LettersReply
from shared.contracts.history import StatisticsReply
from shared.contracts.queries import CostsBy, CostsReply, RunPage, RunView, WhyReply
from shared.contracts.queues import QueueDetails, QueuesView
from shared.contracts.values import AssetRef

T = TypeVar("T")

_WORKFLOWS = "/api/workflows"
_RUNS = f"{_WORKFLOWS}/runs"
_KEYS = "/api/keys"
_QUEUES = "/api/queues"
_DEAD_LETTERS = "/api/dead-letters"
Graph = Mapping[str, Any]

# More than for other answers: the gateway may wait 20 s for its turn, reads the letters twice, begins to replay within
# 20 s, and waits 10 s twice for what becomes of the last. Who left before would treat others when they ask again.
TREATMENT_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request, and how its answer is read. `content` is what httpx2 takes: `json`, `params`, `content`, `headers`.

    The answer may come `more_seconds` later than those of other requests.
    """

    method: str
    path: str
    read: Callable[[Any], T]
    content: Mapping[str, Any] = field(default_factory=dict[str, Any])
    more_seconds: float = 0.0


def upload(picture: bytes, media_type: str) -> Call[AssetRef]:
    """Keep a picture; the answer refers to it."""

    def read(answer: Any) -> AssetRef:
        return AssetRef.model_validate(answer["asset"])

    return Call("POST", "/api/uploads", read, {"content": picture, "headers": {"Content-Type": media_type}})


def save_workflow(graph: Graph, *, workflow_id: UUID | None, name: str | None) -> Call[Workflow]:
    """Keep a workflow; under an id, the same graph again changes nothing, and another one is a conflict."""
    return Call("POST", _WORKFLOWS, Workflow.model_validate, {"json": _draft(graph, id=workflow_id, name=name)})


def update_workflow(workflow_id: UUID, graph: Graph, *, name: str | None, version: int | None) -> Call[Workflow]:
    """Keep a new version; where `version` is given, it must be the latest one before, else it is a conflict."""
    body = _draft(graph, name=name, version=version)
    return Call("PUT", f"{_WORKFLOWS}/{workflow_id}", Workflow.model_validate, {"json": body})


def get_workflow(workflow_id: UUID, version: int | None) -> Call[Workflow]:
    """Return a workflow with its graph, in its latest version or in another one."""
    params = {} if version is None else {"version": version}
    return Call("GET", f"{_WORKFLOWS}/{workflow_id}", Workflow.model_validate, {"params": params})


def export_workflow(workflow_id: UUID) -> Call[dict[str, Any]]:
    """Return a workflow as a file holds it."""
    return Call("GET", f"{_WORKFLOWS}/{workflow_id}/export", dict[str, Any])


def import_workflow(file: Mapping[str, Any]) -> Call[Workflow]:
    """Keep what a file holds as a new workflow: one that was exported, or a graph of the predecessor's canvas."""
    return Call("POST", f"{_WORKFLOWS}/import", Workflow.model_validate, {"json": dict(file)})


def list_workflows(limit: int, cursor: str | None) -> Call[WorkflowPage]:
    """Return a page of workflows, newest first."""
    params = {"limit": limit} if cursor is None else {"limit": limit, "cursor": cursor}
    return Call("GET", _WORKFLOWS, WorkflowPage.model_validate, {"params": params})


def delete_workflow(workflow_id: UUID) -> Call[None]:
    """Let a workflow be found no more; its runs stay."""
    return Call("DELETE", f"{_WORKFLOWS}/{workflow_id}", _nothing)


def validate_workflow(graph: Graph) -> Call[Validation]:
    """Return what is wrong with a graph, without keeping it."""
    return Call("POST", f"{_WORKFLOWS}/validate", Validation.model_validate, {"json": _draft(graph)})


def node_types() -> Call[NodeTypeList]:
    """Return all node types that workflows can use."""
    return Call("GET", "/api/node-types", NodeTypeList.model_validate)


def execute(workflow_id: UUID, request: ExecuteRequest, wait: float | None) -> Call[RunView]:
    """Start a run, and return it as it was accepted, or as it is after `wait` seconds; started once if repeated."""
    params = {} if wait is None else {"wait": wait}
    path = f"{_WORKFLOWS}/{workflow_id}/execute"
    content = {"json": request.to_body(), "params": params}
    return Call("POST", path, RunView.model_validate, content, more_seconds=max(wait or 0.0, 0.0))


def execute_batch(workflow_id: UUID, request: BatchRequest, key: str | None) -> Call[BatchReply]:
    """Start many runs, each with its own result; under a key, the same again starts nothing new."""
    headers = {} if key is None else {"Idempotency-Key": key}
    path = f"{_WORKFLOWS}/{workflow_id}/execute-batch"
    return Call("POST", path, BatchReply.model_validate, {"json": request.to_body(), "headers": headers})


def resume(run_id: UUID, request: ResumeRequest) -> Call[RunView]:
    """Take up a run that has ended in a new one, and return that as it was accepted."""
    return Call("POST", f"{_RUNS}/{run_id}/resume", RunView.model_validate, {"json": request.to_body()})


def replay(run_id: UUID, trigger_run_id: str | None) -> Call[RunView]:
    """Do the same again as a run did in a new one, and return that as it was accepted."""
    request = ReplayRequest(trigger_run_id=trigger_run_id)
    return Call("POST", f"{_RUNS}/{run_id}/replay", RunView.model_validate, {"json": request.to_body()})


def cancel(run_id: UUID, reason: str | None) -> Call[RunView]:
    """Ask for a run's end, and return it as it was before."""
    return Call("POST", f"{_RUNS}/{run_id}/cancel", RunView.model_validate, {"json": {"reason": reason}})


def why(run_id: UUID, node_id: str | None) -> Call[WhyReply]:
    """Return what a run, or one node of it, is waiting for."""
    params = {} if node_id is None else {"node": node_id}
    return Call("GET", f"{_RUNS}/{run_id}/why", WhyReply.model_validate, {"params": params})


def get_run(run_id: UUID) -> Call[RunView]:
    """Return a run with its nodes."""
    return Call("GET", f"{_RUNS}/{run_id}", RunView.model_validate)


def list_runs(workflow_id: UUID | None, query: Mapping[str, Any] | None) -> Call[RunPage]:
    """Return a page of runs without their nodes, of one workflow or of all; `query` as the API names its fields."""
    path = f"{_WORKFLOWS}/{workflow_id}/runs" if workflow_id else _RUNS
    return Call("GET", path, RunPage.model_validate, {"params": query or {}})


def find_run(trigger_run_id: str) -> Call[RunView]:
    """Return the run that its caller gave this name, with its nodes; names may hold any characters."""
    return Call("GET", f"{_RUNS}/by-trigger/{quote(trigger_run_id, safe='')}", RunView.model_validate)


def timeline(run_id: UUID) -> Call[Timeline]:
    """Return when each attempt at each node of a run was queued, started and finished."""
    return Call("GET", f"{_RUNS}/{run_id}/timeline", Timeline.model_validate)


def pictures(run_id: UUID) -> Call[PictureList]:
    """Return the pictures of a run, with links to them."""
    return Call("GET", f"{_RUNS}/{run_id}/assets", PictureList.model_validate)


def statistics(workflow_id: UUID, since: datetime | None, until: datetime | None) -> Call[StatisticsReply]:
    """Return how the runs of a workflow went that were created between two times; else in the last 30 days."""
    times = {"since": since, "until": until}
    params = {name: time.isoformat() for name, time in times.items() if time}
    return Call("GET", f"{_WORKFLOWS}/{workflow_id}/statistics", StatisticsReply.model_validate, {"params": params})


def costs(by: CostsBy, since: datetime | None) -> Call[CostsReply]:
    """Return what model calls have cost, those begun since a time, or all."""
    params = {"by": by.value, **({"since": since.isoformat()} if since else {})}
    return Call("GET", "/api/costs", CostsReply.model_validate, {"params": params})


def queues() -> Call[QueuesView]:
    """Return how full all queues are, and how things stand with the jobs of each node type."""
    return Call("GET", _QUEUES, QueuesView.model_validate)


def queue(name: str) -> Call[QueueDetails]:
    """Return one queue, with the node type that it belongs to."""
    return Call("GET", f"{_QUEUES}/{quote(name, safe='')}", QueueDetails.model_validate)


def list_dead_letters(query: Mapping[str, Any] | None) -> Call[DeadLetterPage]:
    """Return a page of dead letters; `query` as the API names its fields."""
    return Call("GET", _DEAD_LETTERS, DeadLetterPage.model_validate, {"params": query or {}})


def get_dead_letter(letter_id: str) -> Call[DeadLetter]:
    """Return a dead letter with its body."""
    return Call("GET", f"{_DEAD_LETTERS}/{quote(letter_id, safe='')}", DeadLetter.model_validate)


def treat_dead_letters(verb: Literal["replay", "drop"], selection: Mapping[str, Any]) -> Call[LettersReply]:
    """Replay or drop the first of the selected dead letters; the selection as the API names its fields."""
    content = {"json": dict(selection)}
    return Call("POST", f"{_DEAD_LETTERS}/{verb}", LettersReply.model_validate, content, more_seconds=TREATMENT_SECONDS)


def create_key(wishes: Mapping[str, Any]) -> Call[dict[str, Any]]:
    """Make an API key, as the API names its fields; the answer holds its secret, this once."""
    body = {name: wish for name, wish in wishes.items() if wish is not None}
    return Call("POST", _KEYS, dict[str, Any], {"json": body})


def list_keys(limit: int) -> Call[dict[str, Any]]:
    """Return the newest API keys, without their secrets."""
    return Call("GET", _KEYS, dict[str, Any], {"params": {"limit": limit}})


def revoke_key(key_id: UUID) -> Call[dict[str, Any]]:
    """End an API key, and return it."""
    return Call("DELETE", f"{_KEYS}/{key_id}", dict[str, Any])


def run_events(run_id: UUID) -> str:
    """Return where the events of a run are."""
    return f"{_RUNS}/{run_id}/events"


def workflow_events(workflow_id: UUID) -> str:
    """Return where the events of all runs of a workflow are."""
    return f"{_WORKFLOWS}/{workflow_id}/events"


def _draft(graph: Graph, **fields: object) -> dict[str, Any]:
    known = {name: str(value) if isinstance(value, UUID) else value for name, value in fields.items()}
    content = graph.model_dump(mode="json", exclude_none=True) if isinstance(graph, Contract) else dict(graph)
    return {"graph": content, **{name: value for name, value in known.items() if value is not None}}


def _nothing(_: Any) -> None:
    """Read an answer without content."""
