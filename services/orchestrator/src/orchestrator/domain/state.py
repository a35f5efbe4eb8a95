"""What the orchestrator knows of a run: derived from its journal, never changed in place."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from immutables import Map
from pydantic import JsonValue

from orchestrator.domain.fifo import Fifo
from orchestrator.domain.plan import Plan
from shared.contracts.commands import NodeExpire, NodeRetry, RunAdmit, RunExpire, RunStart
from shared.contracts.envelope import Message, NodeAttempt, NodeMessage
from shared.contracts.errors import Problem
from shared.contracts.events import NodeFailed, NodeLasting, NodeSucceeded
from shared.contracts.run_options import Lane
from shared.contracts.states import FINAL_NODE_STATUSES, NodeStatus, RunStatus
from shared.contracts.values import Value


class RunAccepted(Message):
    """The first event of every journal: a run was asked for, at that time, and `problems` keep it from running."""

    kind: Literal["run.accepted"] = "run.accepted"
    at: datetime
    command: RunStart
    problems: tuple[Problem, ...] = ()


class RunCancelled(Message):
    """Somebody cancelled the run."""

    kind: Literal["run.cancelled"] = "run.cancelled"
    at: datetime
    reason: str | None = None


class NodeReplayed(NodeMessage):
    """Somebody wants another attempt at a node that failed in its `attempt`, with other `params` if these are given.

    `problem` is what is wrong with those: then the attempt fails with it.
    """

    kind: Literal["node.replayed"] = "node.replayed"
    at: datetime
    params: dict[str, JsonValue] | None = None
    problem: Problem | None = None


class NodesCached(Message):
    """Nodes that became ready because of the event `cause` have these outputs, by node id, from earlier executions."""

    kind: Literal["nodes.cached"] = "nodes.cached"
    at: datetime
    cause: str
    outputs: dict[str, Value]


NodeEvent = NodeSucceeded | NodeFailed | NodeLasting | NodeRetry | NodeExpire | NodeReplayed
RunEvent = RunCancelled | RunAdmit | RunExpire
JournalEvent = RunAccepted | RunEvent | NodeEvent | NodesCached


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node: its status, its latest attempt, its output once it succeeded, its error once an attempt failed.

    `waiting_for` counts the predecessors that have not succeeded yet. `queued_at` and `started_at` are about the latest
    attempt, `retry_at` is set while the node waits for another; `lane` is where its job waits. `earlier_attempts` came
    before a person brought the node back. `cached` marks an output that was not made by this run. `cause` is the id of
    the event that brought the node to its status, so that what the event causes can be derived again when it is
    delivered again.
    """

    status: NodeStatus = NodeStatus.PENDING
    waiting_for: int = 0
    attempt: int = 1
    earlier_attempts: int = 0
    output: Value | None = None
    error: Problem | None = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    retry_at: datetime | None = None
    lane: Lane = Lane.NORMAL
    cached: bool = False
    cause: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether the node will not change any more, unless a person brings it back."""
        return self.status in FINAL_NODE_STATUSES

    @property
    def tries(self) -> int:
        """How many of the attempts count for the node's retry policy."""
        return self.attempt - self.earlier_attempts


@dataclass(frozen=True, slots=True)
class RunState:
    """A run: how it was started, its plan, its nodes by id, and how it ended.

    `open_nodes` counts the nodes that are not final, `in_flight` those that are with workers or in their queues, and
    `in_own_lane` those of the latter that are in the lane of the run's priority, `lasting` those that a worker has had
    for a while. `ready` holds, in order, the nodes that could be queued but for the run's window. `caused` tells for
    each event which nodes it changed, in order; an event that is not in it has not been taken in. `tokens` and `cost`
    (US dollars) are what models were used for. `begun_by` is the id of the event that let the run begin, at `begun_at`,
    `finished_by` of the one that ended it, at `finished_at`.
    """

    accepted: RunAccepted
    plan: Plan
    nodes: Map[str, NodeState] = field(default_factory=Map[str, NodeState])
    caused: Map[str, tuple[str, ...]] = field(default_factory=Map[str, tuple[str, ...]])
    ready: Fifo = field(default_factory=Fifo)
    open_nodes: int = 0
    in_flight: int = 0
    in_own_lane: int = 0
    lasting: int = 0
    tokens: int = 0
    cost: float = 0.0
    status: RunStatus = RunStatus.QUEUED
    begun_by: str | None = None
    begun_at: datetime | None = None
    finished_by: str | None = None
    finished_at: datetime | None = None

    def attempt_at(self, node_id: str) -> NodeAttempt:
        """Return what messages about a node's latest attempt have in common."""
        return NodeAttempt(
            run_id=self.accepted.run_id,
            node_id=node_id,
            node_type=self.plan.nodes[node_id].type,
            attempt=self.nodes[node_id].attempt,
        )

    def budget_problem(self, node_id: str) -> Problem | None:
        """Return why no further model may be asked; None while the run's budget is not reached."""
        budget = self.accepted.command.options.budget
        if budget is None:
            return None
        if budget.max_tokens is not None and self.tokens >= budget.max_tokens:
            spent = f"{self.tokens:,} of {budget.max_tokens:,} tokens are used"
        elif budget.max_cost is not None and self.cost >= budget.max_cost:
            spent = f"{self.cost:.4f} of {budget.max_cost:.4f} dollars are spent"
        else:
            return None
        return Problem(
            code="budget_exceeded",
            message=f"the run's budget is reached: {spent}",
            node_id=node_id,
            fix="resume the run with a larger budget: what has succeeded is kept",
        )
