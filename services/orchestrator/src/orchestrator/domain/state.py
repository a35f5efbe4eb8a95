"""What the orchestrator knows of a run: derived from its journal, never changed in place."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from orchestrator.domain.plan import Plan
from shared.contracts.errors import Problem
from shared.contracts.messages import Message, NodeAttempt, NodeFailed, NodeRetry, NodeSucceeded, RunStart
from shared.contracts.states import FINAL_NODE_STATUSES, NodeStatus, RunStatus
from shared.contracts.values import Value


class RunAccepted(Message):
    """The first event of every journal: a run was asked for, at that time, and `problems` keep it from running."""

    kind: Literal["run.accepted"] = "run.accepted"
    at: datetime
    command: RunStart
    problems: tuple[Problem, ...] = ()


JournalEvent = RunAccepted | NodeSucceeded | NodeFailed | NodeRetry


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node: its status, its latest attempt, its output once it succeeded, `retry_at` while it waits for another.

    `waiting_for` counts the predecessors that have not succeeded yet. `cause` is the id of the event that
    brought the node to its status (for a queued node: that made it ready), so that the event's commands can be
    derived again when it is delivered again.
    """

    status: NodeStatus = NodeStatus.PENDING
    waiting_for: int = 0
    attempt: int = 1
    output: Value | None = None
    retry_at: datetime | None = None
    cause: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether the node will not change any more."""
        return self.status in FINAL_NODE_STATUSES


@dataclass(frozen=True, slots=True)
class RunState:
    """A run: how it was started, its plan, its nodes by id, and how it ended.

    `open_nodes` counts the nodes that are not final; `finished_by` is the id of the event that ended the run.
    """

    accepted: RunAccepted
    plan: Plan
    nodes: Mapping[str, NodeState]
    open_nodes: int
    status: RunStatus = RunStatus.RUNNING
    finished_by: str | None = None

    def attempt_at(self, node_id: str) -> NodeAttempt:
        """Return what messages about a node's latest attempt have in common."""
        return NodeAttempt(
            run_id=self.accepted.run_id,
            node_id=node_id,
            node_type=self.plan.nodes[node_id].type,
            attempt=self.nodes[node_id].attempt,
        )
