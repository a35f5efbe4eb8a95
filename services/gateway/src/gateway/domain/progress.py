"""How much of a run a client has been told, and whether somebody else knows more."""

from collections.abc import Mapping
from types import MappingProxyType

from shared.contracts.events import (
    LiveEvent,
    NodeProgress,
    RunFinished,
    RunQueued,
    RunRejected,
    RunStarted,
    status_after,
)
from shared.contracts.queries import RunView
from shared.contracts.states import FINAL_NODE_STATUSES, FINAL_RUN_STATUSES, NodeStatus, RunStatus

_END = 4
# An attempt only ever goes up in this order.
_STAGES: Mapping[NodeStatus, int] = MappingProxyType(
    {NodeStatus.PENDING: 0, NodeStatus.QUEUED: 1, NodeStatus.RUNNING: 2, NodeStatus.RETRYING: 3}
    | dict.fromkeys(FINAL_NODE_STATUSES, _END)
)
_RUN_STAGES: Mapping[RunStatus, int] = MappingProxyType(
    {RunStatus.QUEUED: 0, RunStatus.RUNNING: 1} | dict.fromkeys(FINAL_RUN_STATUSES, 2)
)

_Point = tuple[int, int]  # attempt, stage


class Progress:
    """What a client knows of a run: how far each node is, how far the run is, and whether anything more will come."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Point] = {}
        self._run_stage = 0
        self.ended = False

    @classmethod
    def of(cls, view: RunView) -> "Progress":
        """Return what a client knows that was told a view."""
        progress = cls()
        progress.take(view)
        return progress

    def take(self, update: RunView | LiveEvent) -> None:
        """Note that the client was told this."""
        match update:
            case RunView():
                self._nodes = {node.node_id: (node.attempt, _STAGES[node.status]) for node in update.nodes or ()}
                self._reach(update.status)
            case RunQueued() | RunStarted():
                self._reach(RunStatus.RUNNING if isinstance(update, RunStarted) else RunStatus.QUEUED)
                for node in update.nodes:
                    self._advance(node.node_id, 1, node.status)
            case RunFinished():
                self._reach(update.status)
            case RunRejected():
                # Where its trigger id belongs to another run, this one will never be.
                self.ended = self.ended or update.existing_run_id != update.run_id
            case _:
                self._advance(update.node_id, update.attempt, status_after(update))

    def lacks(self, view: RunView) -> bool:
        """Tell whether the view knows of something that the client has not been told, late results aside."""
        if _RUN_STAGES[view.status] > self._run_stage:
            return True
        return any((node.attempt, _STAGES[node.status]) > self._known(node.node_id) for node in view.nodes or ())

    def knows_what_led_to(self, end: RunFinished) -> bool:
        """Tell whether the client was told the ends of all the nodes that have ended with the run."""
        final = (node_id for node_id, status in end.nodes.items() if status in FINAL_NODE_STATUSES)
        return all(self._known(node_id)[1] == _END for node_id in final)

    def is_news(self, event: LiveEvent) -> bool:
        """Tell whether an event says more than the client has been told; the pieces of an open attempt always do."""
        match event:
            case RunQueued() | RunStarted():
                stage = _RUN_STAGES[RunStatus.RUNNING if isinstance(event, RunStarted) else RunStatus.QUEUED]
                return stage > self._run_stage or any(
                    (1, _STAGES[node.status]) > self._known(node.node_id) for node in event.nodes
                )
            case RunFinished() | RunRejected():
                return not self.ended
            case NodeProgress():
                return (event.attempt, _STAGES[NodeStatus.RUNNING]) >= self._known(event.node_id)
            case _:
                status = status_after(event)
                return status is None or (event.attempt, _STAGES[status]) > self._known(event.node_id)

    def _reach(self, status: RunStatus) -> None:
        self._run_stage = max(self._run_stage, _RUN_STAGES[status])
        self.ended = self.ended or status in FINAL_RUN_STATUSES

    def _known(self, node_id: str) -> _Point:
        return self._nodes.get(node_id, (0, 0))

    def _advance(self, node_id: str, attempt: int, status: NodeStatus | None) -> None:
        if status is not None:
            self._nodes[node_id] = max(self._known(node_id), (attempt, _STAGES[status]))
