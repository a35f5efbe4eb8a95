"""decide(state, event) -> [message]: what has to be told to others because of an event.

`state` is the run after the event, and maybe after others that followed. What the event caused is found by the mark
that it left on the nodes; what has become of a node since is told by what caused that. So the messages of an event that
is delivered again are those of the first time, less what is past.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from functools import partial

from orchestrator.domain.state import JournalEvent, NodesCached, RunAccepted, RunState
from shared.contracts.commands import JobInput, NodeAbandon, NodeExecute, NodeExpire, RunExpire
from shared.contracts.envelope import Message
from shared.contracts.errors import Problem
from shared.contracts.events import (
    NodeCancelled,
    NodeFailed,
    NodeQueued,
    NodeRetrying,
    NodeSkipped,
    NodeSucceeded,
    NodeSummary,
    RunFinished,
    RunQueued,
    RunStarted,
)
from shared.contracts.states import NodeStatus
from shared.contracts.values import RecordValue

MAX_TOLD_BYTES = 4 * 1024 * 1024  # of the outputs that a run's start tells; the others are told one by one
MAX_RESULT_BYTES = 8 * 1024 * 1024  # of the collected result, as JSON; the nodes' outputs are kept in any case


def decide(state: RunState, event: JournalEvent) -> list[Message]:
    """Return the messages that follow from an event; asked again later, the same ones less what is past."""
    assert not isinstance(event, NodesCached), "what it did belongs to the event that caused it"
    messages: list[Message] = []
    told: frozenset[str] = frozenset()
    cause = event.message_id
    if isinstance(event, RunAccepted) and state.begun_by is None and not event.problems:
        messages.append(_run_queued(state))
    if state.begun_by == cause:
        outputs = _outputs_told_at_start(state)
        messages.append(_run_started(state, outputs))
        told = outputs.union(filter(partial(_queued_at_start, state), state.plan.nodes))
    if isinstance(event, NodeSucceeded) or (isinstance(event, NodeFailed) and not event.retryable):
        told = frozenset({event.node_id})
    if isinstance(event, NodeExpire):
        messages.append(NodeAbandon(**event.about))
    for node_id in state.caused.get(cause, ()):
        if state.nodes[node_id].cause == cause:
            messages += _about_node(state, node_id, event, is_told=node_id in told)
    if state.finished_by == cause:
        messages.append(_run_finished(state))
    return messages


def _about_node(state: RunState, node_id: str, event: JournalEvent, *, is_told: bool) -> Iterator[Message]:
    """Yield what is to be told of a node; `is_told` says that everybody knows already what became of it."""
    node, about = state.nodes[node_id], state.attempt_at(node_id)
    match node.status:
        case NodeStatus.QUEUED if node.started_at is None:
            if not is_told:
                yield NodeQueued(**about, at=node.queued_at or event.at)
            yield _job(state, node_id)
        case NodeStatus.RETRYING if node.retry_at and node.error:
            yield NodeRetrying(**about, at=event.at, error=node.error, retry_at=node.retry_at, queued_at=node.queued_at)
        case NodeStatus.SUCCESS if node.output and not is_told:
            yield NodeSucceeded(**about, at=event.at, output=node.output, cached=node.cached)
        case NodeStatus.FAILED if node.error and not is_told:
            yield NodeFailed(**about, at=event.at, error=node.error, queued_at=node.queued_at)
            if isinstance(event, RunExpire) and node.queued_at:
                yield NodeAbandon(**about)
        case NodeStatus.SKIPPED:
            yield NodeSkipped(**about, at=event.at, because_of=_unsuccessful_predecessor(state, node_id))
        case NodeStatus.CANCELLED:
            yield NodeCancelled(**about, at=event.at)
            if node.queued_at:
                yield NodeAbandon(**about)
        case _:
            return


def queued_since(state: RunState, moment: datetime) -> list[NodeQueued]:
    """Return what is to be told of the jobs that were given out since then, and that no worker has had for a while."""
    queued = ((node_id, node) for node_id, node in state.nodes.items() if node.status is NodeStatus.QUEUED)
    return [
        NodeQueued(**state.attempt_at(node_id), at=node.queued_at)
        for node_id, node in queued
        if node.queued_at and node.queued_at >= moment and node.started_at is None
    ]


def _outputs_told_at_start(state: RunState) -> frozenset[str]:
    """Return the nodes whose outputs the start of the run tells, as far as they fit into one message."""
    told: list[str] = []
    size = 0
    for node_id in state.plan.nodes:
        node = state.nodes[node_id]
        if node.cause == state.begun_by and node.status is NodeStatus.SUCCESS and node.output:
            size += len(node.output.to_json())
            if size > MAX_TOLD_BYTES:
                break
            told.append(node_id)
    return frozenset(told)


def _queued_at_start(state: RunState, node_id: str) -> bool:
    """Tell whether a node's first job was given out when the run began, whatever has become of the node since."""
    node = state.nodes[node_id]
    return node.attempt == 1 and not node.cached and node.queued_at is not None and node.queued_at == state.begun_at


def _unsuccessful_predecessor(state: RunState, node_id: str) -> str:
    ended_badly = {NodeStatus.FAILED, NodeStatus.SKIPPED}
    sources = (edge.source for edge in state.plan.incoming[node_id])
    return next(source for source in sources if state.nodes[source].status in ended_badly)


def _job(state: RunState, node_id: str) -> NodeExecute:
    node = state.nodes[node_id]
    return NodeExecute(
        **state.attempt_at(node_id),
        workflow_id=state.accepted.command.workflow_id,
        params=state.plan.nodes[node_id].params,
        inputs=job_inputs(state, node_id),
        last_attempt=node.tries >= state.plan.retry_policy(node_id).max_attempts,
        timeout=state.plan.timeout(node_id),
        lane=node.lane,
        queued_at=node.queued_at,
    )


def job_inputs(state: RunState, node_id: str) -> dict[str, tuple[JobInput, ...]]:
    """Return what a node's job brings along: by input handle, in the order of the edges."""
    brought = state.plan.inputs_of(node_id, lambda source: state.nodes[source].output)
    return {
        handle: tuple(JobInput(source=state.plan.nodes[source].label, value=value) for source, value in values)
        for handle, values in brought.items()
    }


def _run_queued(state: RunState) -> RunQueued:
    nodes = tuple(_pending(state, node_id) for node_id in state.plan.nodes)
    return RunQueued.model_validate(_taken(state, nodes), by_name=True)


def _run_started(state: RunState, outputs: frozenset[str]) -> RunStarted:
    nodes = tuple(_begun(state, node_id, has_output=node_id in outputs) for node_id in state.plan.nodes)
    return RunStarted.model_validate(_taken(state, nodes), by_name=True)


def _taken(state: RunState, nodes: tuple[NodeSummary, ...]) -> dict[str, object]:
    command = state.accepted.command
    return {
        "run_id": command.run_id,
        "at": state.accepted.at,
        "workflow_id": command.workflow_id,
        "workflow_version": command.workflow_version,
        "workflow_name": command.graph.name,
        "trigger_run_id": command.trigger_run_id,
        "resumed_from": command.resumed_from,
        "command": command,
        "nodes": nodes,
    }


def _pending(state: RunState, node_id: str) -> NodeSummary:
    node = state.plan.nodes[node_id]
    return NodeSummary(node_id=node_id, node_type=node.type, name=node.name, status=NodeStatus.PENDING)


def _begun(state: RunState, node_id: str, *, has_output: bool) -> NodeSummary:
    """Return the node as it was right after the run began, whatever has become of it since."""
    node, known = state.nodes[node_id], _pending(state, node_id)
    if has_output:
        return known.model_copy(update={"status": NodeStatus.SUCCESS, "output": node.output, "cached": node.cached})
    if _queued_at_start(state, node_id):
        return known.model_copy(update={"status": NodeStatus.QUEUED, "queued_at": node.queued_at})
    return known


def _run_finished(state: RunState) -> RunFinished:
    counts = Counter(node.status for node in state.nodes.values())
    result, problems = _result(state)
    assert state.finished_at
    return RunFinished(
        run_id=state.accepted.run_id,
        at=state.finished_at,
        status=state.status,
        total_nodes=len(state.nodes),
        successful_nodes=counts[NodeStatus.SUCCESS],
        failed_nodes=counts[NodeStatus.FAILED],
        skipped_nodes=counts[NodeStatus.SKIPPED],
        cancelled_nodes=counts[NodeStatus.CANCELLED],
        cached_nodes=sum(node.cached for node in state.nodes.values()),
        tokens=state.tokens,
        cost=state.cost,
        nodes={node_id: state.nodes[node_id].status for node_id in state.plan.nodes},
        result=result,
        problems=(*state.accepted.problems, *problems),
    )


def _result(state: RunState) -> tuple[RecordValue | None, tuple[Problem, ...]]:
    """Return what the response nodes collected, by result name (None where there is no response), or why not."""
    collected = [
        node.output
        for node_id in state.plan.nodes
        if state.plan.node_type(node_id).open_inputs and isinstance((node := state.nodes[node_id]).output, RecordValue)
    ]
    if not collected:
        return None, ()
    result = RecordValue(fields={name: value for record in collected for name, value in record.fields.items()})
    if len(result.to_json()) <= MAX_RESULT_BYTES:
        return result, ()
    problem = Problem(
        code="result_too_large",
        message=f"the collected results have more than {MAX_RESULT_BYTES:,} bytes, and are left out here",
        fix="read the outputs of the nodes",
    )
    return None, (problem,)
