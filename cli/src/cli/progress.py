"""What is known of a run, brought up to date by snapshots and events; no I/O."""

from collections.abc import Iterable
from typing import Any

from cli.streamed import Streamed
from shared.contracts.envelope import NodeMessage
from shared.contracts.errors import Problem
from shared.contracts.events import (
    LiveEvent,
    NodeLate,
    NodeProgress,
    NodeQueued,
    NodeRetrying,
    NodeStarted,
    NodeSucceeded,
    NodeSummary,
    RunFinished,
    RunQueued,
    RunRejected,
    RunStarted,
    status_after,
)
from shared.contracts.graph import WorkflowGraph
from shared.contracts.queries import LateResult, NodeView, RunView
from shared.contracts.states import FINAL_RUN_STATUSES, NodeStatus, RunStatus

_BEFORE_THE_END = (NodeStatus.PENDING, NodeStatus.QUEUED, NodeStatus.RUNNING, NodeStatus.RETRYING)
_OF_START = frozenset({"queued_at", "started_at", "worker"})


class RunProgress:
    """A run as far as it is known: `run` without its nodes, and `nodes` by id, in the order of the workflow.

    `refusal` is set where the run will never be, because its name belongs to another one. `graph` is the workflow, as
    soon as it is known; `streamed` what attempts that go on have told of their answers, by node.
    """

    def __init__(self, run: RunView) -> None:
        self.run = run
        self.nodes: dict[str, NodeView] = {}
        self.refusal: Problem | None = None
        self.graph: WorkflowGraph | None = None
        self.streamed: dict[str, Streamed] = {}
        self.take(run)

    @property
    def has_ended(self) -> bool:
        """Whether the run is in a final state."""
        return self.run.status in FINAL_RUN_STATUSES

    def take(self, update: RunView | LiveEvent) -> list[NodeView]:
        """Take in a snapshot or an event, and return the nodes that it changed.

        An event that tells of an earlier moment than is known changes nothing.
        """
        match update:
            case RunView():
                self.run = update.model_copy(update={"nodes": None})
                return self._replace(update.nodes or ())
            case RunQueued() | RunStarted():
                return self._begin(update)
            case RunFinished():
                self.run = self.run.model_copy(update={"status": update.status, "finished_at": update.at})
                return self._replace(self._with_final_states(update))
            case RunRejected():
                self.refusal = update.problem if update.existing_run_id != update.run_id else self.refusal
                return []
            case _:
                return self._take_node_message(update)

    def _begin(self, event: RunQueued | RunStarted) -> list[NodeView]:
        self.graph = event.command.graph if event.command else self.graph
        if isinstance(event, RunStarted):
            self.run = self.run.model_copy(update={"status": RunStatus.RUNNING})
        return self._replace(self._summarised(event.nodes))

    def _take_node_message(self, event: NodeMessage) -> list[NodeView]:
        if isinstance(event, NodeProgress):
            known = self.streamed.get(event.node_id, Streamed(event.attempt))
            self.streamed[event.node_id] = known.take(event)
        node = self.nodes.get(event.node_id)
        return self._replace([_advance(node, event)] if node else [])

    def _replace(self, nodes: Iterable[NodeView]) -> list[NodeView]:
        changed = [node for node in nodes if self.nodes.get(node.node_id) != node]
        self.nodes.update((node.node_id, node) for node in changed)
        return changed

    def _summarised(self, summaries: Iterable[NodeSummary]) -> Iterable[NodeView]:
        for summary in summaries:
            node, known = _node(summary), self.nodes.get(summary.node_id)
            if known is None or _moment(node.attempt, node.status) > _moment(known.attempt, known.status):
                yield node

    def _with_final_states(self, event: RunFinished) -> Iterable[NodeView]:
        for node in self.nodes.values():
            yield node.model_copy(update={"status": event.nodes.get(node.node_id, node.status)})


def _node(summary: NodeSummary) -> NodeView:
    return NodeView(**{name: getattr(summary, name) for name in NodeSummary.model_fields})


def _advance(node: NodeView, event: NodeMessage) -> NodeView:
    if isinstance(event, NodeLate):
        return _with_late_result(node, event)
    told, known = _moment(event.attempt, status_after(event)), _moment(node.attempt, node.status)
    # That an attempt failed is told twice: by its worker, and with the time of the next one.
    if told < known or (told == known and not isinstance(event, NodeRetrying)):
        return node
    return node.model_copy(update=_changes(event))


def _with_late_result(node: NodeView, event: NodeLate) -> NodeView:
    late = LateResult(attempt=event.attempt, at=event.at, outcome=event.outcome, usage=event.usage)
    is_known = any(known.attempt == late.attempt for known in node.late)
    return node if is_known else node.model_copy(update={"late": (*node.late, late)})


def _changes(event: NodeMessage) -> dict[str, Any]:
    """Return what an event that is new tells of its node: what both know by the same name, and when it came to that."""
    changes = {name: getattr(event, name) for name in type(event).model_fields if name in NodeView.model_fields}
    # What the orchestrator tells of an end says nothing of the job's start.
    changes = {name: value for name, value in changes.items() if value is not None or name not in _OF_START}
    match event:
        case NodeQueued():
            changes |= {"queued_at": event.at, "started_at": None}
        case NodeStarted():
            changes |= {"started_at": event.at}
        case NodeSucceeded():
            changes |= {"error": None}
        case _:
            pass
    return changes | {"status": status_after(event)}


def _moment(attempt: int, status: NodeStatus | None) -> tuple[int, int]:
    """Return a value that grows with a node's life: attempts first, then states."""
    return attempt, _BEFORE_THE_END.index(status) if status in _BEFORE_THE_END else len(_BEFORE_THE_END)
