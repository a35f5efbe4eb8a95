"""evolve(state, event) -> state: what an event makes of a run."""

from dataclasses import replace
from datetime import datetime, timedelta

from immutables import Map

from orchestrator.domain.change import Change
from orchestrator.domain.plan import make_plan
from orchestrator.domain.state import (
    JournalEvent,
    NodeEvent,
    NodeReplayed,
    NodesCached,
    NodeState,
    RunAccepted,
    RunCancelled,
    RunEvent,
    RunState,
)
from shared.contracts.commands import NodeExpire, NodeRetry, RunAdmit, RunExpire, RunStart
from shared.contracts.errors import Problem
from shared.contracts.events import NodeFailed, NodeLasting, NodeSucceeded, Usage
from shared.contracts.graph import WorkflowGraph
from shared.contracts.scopes import Selection
from shared.contracts.states import IllegalTransitionError, NodeStatus, RunStatus, run_transition


class UnknownNodeError(Exception):
    """A result names a node that its run does not have."""


def selection_of(command: RunStart) -> Selection:
    """Return what of its graph a command wants executed."""
    return Selection(command.scope, command.selected, command.given)


def is_news(state: RunState, event: NodeEvent) -> bool:
    """Tell whether an event about a node changes anything: not if it is a repetition, or about an attempt that is past.

    Raises UnknownNodeError, or IllegalTransitionError for a node that was never handed to a worker.
    """
    node = state.nodes.get(event.node_id)
    if node is None:
        raise UnknownNodeError(event.message_id)
    if event.message_id in state.caused:
        return False
    if isinstance(event, NodeReplayed):
        return not state.finished_by and node.status is NodeStatus.FAILED and event.attempt == node.attempt
    if node.status is NodeStatus.PENDING and event.attempt >= node.attempt:
        raise IllegalTransitionError(f"{event.message_id}: the node was never queued")
    match event:
        case NodeRetry():
            return node.retry_at is not None and event.attempt == node.attempt + 1
        case _:
            return node.status is NodeStatus.QUEUED and event.attempt == node.attempt


def evolve(state: RunState | None, event: JournalEvent) -> RunState:
    """Return the run after the event; one that changes nothing returns the state that was given."""
    if isinstance(event, RunAccepted):
        return state or _accept(event)
    if state is None:
        raise IllegalTransitionError(f"{event.message_id}: the run was never accepted")
    if isinstance(event, NodesCached):
        return _reuse(state, event)
    if isinstance(event, RunEvent):
        return state if state.finished_by else _change_run(state, event)
    return _change_node(state, event) if is_news(state, event) else state


def _accept(event: RunAccepted) -> RunState:
    if event.problems:
        nothing = RunState(event, make_plan(WorkflowGraph(nodes=())))
        return replace(nothing, status=RunStatus.FAILED, finished_by=event.message_id, finished_at=event.at)
    command = event.command
    plan = make_plan(selection_of(command).restrict(command.graph))
    nodes = {node_id: NodeState(waiting_for=len(plan.predecessors(node_id))) for node_id in plan.nodes}
    state = RunState(event, plan, Map(nodes), open_nodes=len(nodes))
    return state if command.options.concurrency else _begin(state, event.message_id, event.at)


def _begin(state: RunState, cause: str, at: datetime) -> RunState:
    begun = replace(state, status=run_transition(state.status, RunStatus.RUNNING), begun_by=cause, begun_at=at)
    change = Change(begun, cause, at)
    given = state.accepted.command.given
    for node_id in state.plan.nodes:
        if node_id in given:
            change.succeed(node_id, given[node_id], cached=True)
        elif state.nodes[node_id].waiting_for == 0:
            change.make_ready(node_id)
    return change.result()


def _change_run(state: RunState, event: RunEvent) -> RunState:
    match event:
        case RunAdmit():
            return _begin(state, event.message_id, event.at) if state.status is RunStatus.QUEUED else state
        case RunCancelled():
            change = Change(state, event.message_id, event.at)
            change.cancel()
        case RunExpire():
            change = Change(state, event.message_id, event.at)
            change.give_up(_run_timed_out(state))
    return change.result()


def _change_node(state: RunState, event: NodeEvent) -> RunState:
    if isinstance(event, NodeSucceeded | NodeFailed):
        state = _with_usage(state, event.usage)
    if isinstance(event, NodeReplayed) and event.params is not None and not event.problem:
        state = replace(state, plan=state.plan.with_params(event.node_id, event.params))
    change = Change(state, event.message_id, event.at)
    match event:
        case NodeSucceeded():
            change.succeed(event.node_id, event.output)
        case NodeLasting():
            change.note_start(event.node_id, event.at)
        case NodeRetry():
            change.try_again(event.node_id)
        case NodeReplayed():
            _replay(change, event)
        case NodeFailed():
            change.fail_attempt(event.node_id, event.error, retry_at(state, event))
        case NodeExpire():
            failure = timed_out(state, event)
            change.fail_attempt(event.node_id, failure.error, retry_at(state, failure))
    return change.result()


def _replay(change: Change, event: NodeReplayed) -> None:
    change.revive(event.node_id)
    if event.problem:
        change.fail(event.node_id, event.problem)
    else:
        change.make_ready(event.node_id)


def _reuse(state: RunState, event: NodesCached) -> RunState:
    change = Change(state, event.cause, event.at)
    for node_id, output in event.outputs.items():
        change.succeed(node_id, output, cached=True)
    return change.result()


def retry_at(state: RunState, failure: NodeFailed) -> datetime | None:
    """Return when the next attempt is due after a failed one; None if there is to be none."""
    policy, tries = state.plan.retry_policy(failure.node_id), state.nodes[failure.node_id].tries
    if not failure.retryable or tries >= policy.max_attempts or failure.error.code in policy.never:
        return None
    pause = policy.pause(tries, key=failure.message_id, retry_after=failure.retry_after)
    return failure.at + timedelta(seconds=pause)


def timed_out(state: RunState, event: NodeExpire) -> NodeFailed:
    """Return how an attempt failed whose time is over; a worker says the same of its own accord, if it can."""
    seconds = state.plan.timeout(event.node_id)
    error = Problem(
        code="node_timeout",
        message=f"no result came within {seconds:g} s of work",
        node_id=event.node_id,
        fix="look at the workers of this type; or allow the node a longer timeout",
    )
    return NodeFailed(**event.about, at=event.at, error=error, retryable=True)


def _run_timed_out(state: RunState) -> Problem:
    seconds = state.accepted.command.options.timeout
    return Problem(
        code="run_timeout",
        message=f"the run did not end within {seconds:g} s",
        fix="resume it with a longer timeout: what has succeeded is kept",
    )


def _with_usage(state: RunState, usage: Usage | None) -> RunState:
    if usage is None:
        return state
    tokens = (usage.input_tokens or 0) + (usage.output_tokens or 0)
    return replace(state, tokens=state.tokens + tokens, cost=state.cost + (usage.cost or 0.0))
