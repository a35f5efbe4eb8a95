"""What is known of a run, brought up to date by snapshots and events; no I/O."""

from collections.abc import Iterable
from typing import Any

from shared.contracts.messages import (
    Event,
    NodeFailed,
    NodeMessage,
    NodeQueued,
    NodeRetrying,
    NodeSkipped,
    NodeStarted,
    NodeSucceeded,
    NodeSummary,
    RunFinished,
    RunStarted,
)
from shared.contracts.queries import NodeView, RunView
from shared.contracts.states import FINAL_RUN_STATUSES, NodeStatus, RunStatus

_BEFORE_THE_END = (NodeStatus.PENDING, NodeStatus.QUEUED, NodeStatus.RUNNING)


class RunProgress:
    """A run as far as it is known: `run` without its nodes, and `nodes` by id, in the order of the workflow."""

    def __init__(self, run: RunView) -> None:
        self.run = run
        self.nodes: dict[str, NodeView] = {}
        self.take(run)

    @property
    def has_ended(self) -> bool:
        """Whether the run is in a final state."""
        return self.run.status in FINAL_RUN_STATUSES

    def take(self, update: RunView | Event) -> list[NodeView]:
        """Take in a snapshot or an event, and return the nodes that it changed.

        An event that tells of an earlier moment than is known changes nothing.
        """
        match update:
            case RunView():
                self.run = update.model_copy(update={"nodes": None})
                return self._replace(update.nodes or ())
            case RunStarted():
                self.run = self.run.model_copy(update={"status": RunStatus.RUNNING})
                return self._replace(_node(item) for item in update.nodes if item.node_id not in self.nodes)
            case RunFinished():
                self.run = self.run.model_copy(update={"status": update.status, "finished_at": update.at})
                return self._replace(self._with_final_states(update))
            case _:
                node = self.nodes.get(update.node_id)
                return self._replace([_advance(node, update)] if node else [])

    def _replace(self, nodes: Iterable[NodeView]) -> list[NodeView]:
        changed = [node for node in nodes if self.nodes.get(node.node_id) != node]
        self.nodes.update((node.node_id, node) for node in changed)
        return changed

    def _with_final_states(self, event: RunFinished) -> Iterable[NodeView]:
        for node in self.nodes.values():
            yield node.model_copy(update={"status": event.nodes.get(node.node_id, node.status)})


def _node(summary: NodeSummary) -> NodeView:
    return NodeView(**{name: getattr(summary, name) for name in NodeSummary.model_fields})


def _advance(node: NodeView, event: NodeMessage) -> NodeView:
    changes = _changes(event)
    if _moment(event.attempt, changes["status"]) <= _moment(node.attempt, node.status):
        return node
    return node.model_copy(update={"attempt": event.attempt, **changes})


def _changes(event: NodeMessage) -> dict[str, Any]:
    match event:
        case NodeQueued():
            return {"status": NodeStatus.QUEUED, "queued_at": event.at, "started_at": None}
        case NodeStarted():
            return {"status": NodeStatus.RUNNING, "started_at": event.at, "worker": event.worker}
        case NodeSucceeded():
            return {"status": NodeStatus.SUCCESS, "output": event.output, "seconds": event.seconds, "error": None}
        case NodeFailed():
            status = NodeStatus.RETRYING if event.retryable else NodeStatus.FAILED
            return {"status": status, "error": event.error, "seconds": event.seconds}
        case NodeRetrying():
            return {"status": NodeStatus.RETRYING, "error": event.error, "retry_at": event.retry_at}
        case NodeSkipped():
            return {"status": NodeStatus.SKIPPED}
        case _:
            raise TypeError(f"not an event: {event.kind_name()}")


def _moment(attempt: int, status: NodeStatus) -> tuple[int, int]:
    """Return a value that grows with a node's life: attempts first, then states."""
    return attempt, _BEFORE_THE_END.index(status) if status in _BEFORE_THE_END else len(_BEFORE_THE_END)
