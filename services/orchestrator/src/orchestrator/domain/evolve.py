"""evolve(state, event) -> state: what an event makes of a run."""

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from orchestrator.domain.plan import Plan, make_plan, value_at
from orchestrator.domain.state import JournalEvent, NodeState, RunAccepted, RunState
from shared.contracts.graph import WorkflowGraph
from shared.contracts.messages import NodeFailed, NodeRetry, NodeSucceeded
from shared.contracts.node_types import Supplied
from shared.contracts.states import (
    IllegalTransitionError,
    NodeStatus,
    RunStatus,
    final_run_status,
    node_transition,
    run_transition,
)
from shared.contracts.values import Value


class UnknownNodeError(Exception):
    """A result names a node that its run does not have."""


def is_repeat(state: RunState, event: NodeSucceeded | NodeFailed | NodeRetry) -> bool:
    """Tell whether an event changes nothing, because what it is about is past.

    Raises UnknownNodeError, or IllegalTransitionError for a node that was never handed to a worker.
    """
    node = state.nodes.get(event.node_id)
    if node is None:
        raise UnknownNodeError(event.message_id)
    if node.status is NodeStatus.PENDING:
        raise IllegalTransitionError(f"{event.message_id}: the node was never queued")
    if isinstance(event, NodeRetry):
        return node.status is not NodeStatus.RETRYING or event.attempt != node.attempt + 1
    return node.status is not NodeStatus.QUEUED or event.attempt != node.attempt


def retry_at(state: RunState, event: NodeFailed) -> datetime | None:
    """Return when the next attempt is due after a failed one; None if there is to be none."""
    policy = state.plan.retry_policy(event.node_id)
    if not event.retryable or event.attempt >= policy.max_attempts:
        return None
    pause = policy.pause(event.attempt, key=event.message_id, retry_after=event.retry_after)
    return event.at + timedelta(seconds=pause)


def evolve(state: RunState | None, event: JournalEvent) -> RunState:
    """Return the run after the event; a repeated result returns the state that was given."""
    match event:
        case RunAccepted():
            return state or _begin(event)
        case NodeSucceeded() | NodeFailed() | NodeRetry():
            if state is None:
                raise IllegalTransitionError(f"{event.message_id}: the run was never accepted")
            return state if is_repeat(state, event) else _apply(state, event)


def _begin(event: RunAccepted) -> RunState:
    if event.problems:
        plan = make_plan(WorkflowGraph(nodes=()))
        return RunState(event, plan, {}, 0, status=RunStatus.FAILED, finished_by=event.message_id)
    plan = make_plan(event.command.graph)
    nodes = {node_id: NodeState(waiting_for=plan.predecessor_count(node_id)) for node_id in plan.nodes}
    change = _Change(RunState(event, plan, nodes, len(nodes)), event.message_id)
    for node_id, node in nodes.items():
        if node.waiting_for == 0:
            change.make_ready(node_id)
    return change.result()


def _apply(state: RunState, event: NodeSucceeded | NodeFailed | NodeRetry) -> RunState:
    change = _Change(state, event.message_id)
    match event:
        case NodeSucceeded():
            change.succeed(event.node_id, event.output)
        case NodeRetry():
            change.become(event.node_id, NodeStatus.QUEUED, attempt=event.attempt)
        case NodeFailed() if due := retry_at(state, event):
            change.become(event.node_id, NodeStatus.RETRYING, retry_at=due)
        case NodeFailed():
            change.end(event.node_id, NodeStatus.FAILED)
    return change.result()


class _Change:
    """One event's effect while it spreads: from a node that ended to the nodes behind it."""

    def __init__(self, state: RunState, cause: str) -> None:
        self._state = state
        self._cause = cause
        self._changed: dict[str, NodeState] = {}
        self._ended: deque[str] = deque()

    @property
    def _plan(self) -> Plan:
        return self._state.plan

    def _node(self, node_id: str) -> NodeState:
        return self._changed.get(node_id) or self._state.nodes[node_id]

    def succeed(self, node_id: str, output: Value) -> None:
        self.end(node_id, NodeStatus.SUCCESS, output)

    def end(self, node_id: str, status: NodeStatus, output: Value | None = None) -> None:
        self.become(node_id, status, output=output)
        self._ended.append(node_id)

    def become(
        self,
        node_id: str,
        status: NodeStatus,
        *,
        output: Value | None = None,
        attempt: int | None = None,
        retry_at: datetime | None = None,
    ) -> None:
        node = self._node(node_id)
        self._changed[node_id] = replace(
            node,
            status=node_transition(node.status, status),
            attempt=attempt or node.attempt,
            output=output,
            retry_at=retry_at,
            cause=self._cause,
        )

    def make_ready(self, node_id: str) -> None:
        """Evaluate an inline node at once; queue any other."""
        node_type = self._plan.node_type(node_id)
        if node_type.evaluate is None:
            self.become(node_id, NodeStatus.QUEUED)
            return
        supplied = Supplied(
            node_id=node_id,
            params=node_type.read_params(self._plan.nodes[node_id].params),
            inputs=self._inputs(node_id),
            run_inputs=self._state.accepted.command.inputs,
        )
        self.succeed(node_id, node_type.evaluate(supplied))

    def result(self) -> RunState:
        """Let the effect spread to its end, then return the run as it is afterwards."""
        while self._ended:
            self._spread_from(self._ended.popleft())
        nodes = {**self._state.nodes, **self._changed}
        newly_final = sum(
            node.is_final and not self._state.nodes[node_id].is_final for node_id, node in self._changed.items()
        )
        state = replace(self._state, nodes=nodes, open_nodes=self._state.open_nodes - newly_final)
        if state.open_nodes:
            return state
        return replace(state, status=run_transition(state.status, _final_status(state)), finished_by=self._cause)

    def _spread_from(self, ended: str) -> None:
        succeeded = self._node(ended).status is NodeStatus.SUCCESS
        for following in self._plan.successors[ended]:
            node = self._node(following)
            if node.status is not NodeStatus.PENDING:
                continue
            if not succeeded:
                self.end(following, NodeStatus.SKIPPED)
                continue
            self._changed[following] = replace(node, waiting_for=node.waiting_for - 1)
            if node.waiting_for == 1:
                self.make_ready(following)

    def _inputs(self, node_id: str) -> Mapping[str, tuple[Value, ...]]:
        inputs: dict[str, tuple[Value, ...]] = {}
        for edge in self._plan.incoming[node_id]:
            output = self._node(edge.source).output
            value = value_at(output, edge.source_handle) if output else None
            if value:
                inputs[edge.target_handle] = (*inputs.get(edge.target_handle, ()), value)
        return inputs


def _final_status(state: RunState) -> RunStatus:
    workers = {node_id for node_id in state.nodes if state.plan.node_type(node_id).queue}
    return final_run_status(
        worker_nodes=(state.nodes[node_id].status for node_id in workers),
        others=(node.status for node_id, node in state.nodes.items() if node_id not in workers),
    )
