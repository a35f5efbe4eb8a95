"""How much of a run a client has been told, and whether somebody else knows more."""

from collections.abc import Mapping
from types import MappingProxyType

from shared.contracts.messages import (
    Event,
    NodeFailed,
    NodeMessage,
    NodeQueued,
    NodeRetrying,
    NodeSkipped,
    NodeStarted,
    NodeSucceeded,
    RunFinished,
    RunStarted,
)
from shared.contracts.queries import RunView
from shared.contracts.states import FINAL_NODE_STATUSES, FINAL_RUN_STATUSES, NodeStatus

_STATUS_AFTER: Mapping[type[NodeMessage], NodeStatus] = MappingProxyType(
    {
        NodeQueued: NodeStatus.QUEUED,
        NodeStarted: NodeStatus.RUNNING,
        NodeSucceeded: NodeStatus.SUCCESS,
        NodeFailed: NodeStatus.FAILED,
        NodeRetrying: NodeStatus.RETRYING,
        NodeSkipped: NodeStatus.SKIPPED,
    }
)
# An attempt only ever goes up in this order.
_STAGES: Mapping[NodeStatus, int] = MappingProxyType(
    {NodeStatus.PENDING: 0, NodeStatus.QUEUED: 1, NodeStatus.RUNNING: 2, NodeStatus.RETRYING: 3}
    | dict.fromkeys(FINAL_NODE_STATUSES, 3)
)

_Point = tuple[int, int]  # attempt, stage


class Progress:
    """What a client knows of a run: how far each node is, and whether the run has ended."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Point] = {}
        self.ended = False

    def take(self, update: RunView | Event) -> None:
        """Note that the client was told this."""
        match update:
            case RunView():
                self._nodes = {node.node_id: (node.attempt, _STAGES[node.status]) for node in update.nodes or ()}
                self.ended = update.status in FINAL_RUN_STATUSES
            case RunStarted():
                for node in update.nodes:
                    self._advance(node.node_id, (1, _STAGES[node.status]))
            case RunFinished():
                self.ended = True
            case _:
                self._advance(update.node_id, (update.attempt, _STAGES[_STATUS_AFTER[type(update)]]))

    def lacks(self, view: RunView) -> bool:
        """Tell whether the view knows of something that the client has not been told."""
        if view.status in FINAL_RUN_STATUSES and not self.ended:
            return True
        return any((node.attempt, _STAGES[node.status]) > self._known(node.node_id) for node in view.nodes or ())

    def _known(self, node_id: str) -> _Point:
        return self._nodes.get(node_id, (0, 0))

    def _advance(self, node_id: str, point: _Point) -> None:
        self._nodes[node_id] = max(self._known(node_id), point)
