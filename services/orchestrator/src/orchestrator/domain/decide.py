"""decide(state, event) -> [message]: what has to be told to others because of an event.

`state` is the run after the event. For an event that is delivered again the run may have gone on since: what it
caused is found by the mark that it left on the nodes, and jobs whose nodes have ended are not published again.
"""

from collections import Counter
from collections.abc import Iterator

from orchestrator.domain.plan import value_at
from orchestrator.domain.state import JournalEvent, RunAccepted, RunState
from shared.contracts.messages import (
    JobInput,
    Message,
    NodeExecute,
    NodeFailed,
    NodeQueued,
    NodeRetrying,
    NodeSkipped,
    NodeSucceeded,
    NodeSummary,
    RunFinished,
    RunStarted,
)
from shared.contracts.states import NodeStatus
from shared.contracts.values import RecordValue


def decide(state: RunState, event: JournalEvent) -> list[Message]:
    """Return the messages that follow from an event; asked again later, the same ones less what is past."""
    messages: list[Message] = []
    if isinstance(event, RunAccepted):
        messages.append(_run_started(state))
        messages += (message for node_id in state.nodes for message in _jobs(state, node_id, event))
    else:
        messages += _jobs(state, event.node_id, event)
        messages += _retrying(state, event)
        messages += (message for node_id in _touched(state, event) for message in _consequences(state, node_id, event))
    if state.finished_by == event.message_id:
        messages.append(_run_finished(state, event))
    return messages


def _touched(state: RunState, event: JournalEvent) -> Iterator[str]:
    """Yield the nodes behind the event's node that this event changed, nearest first."""
    assert not isinstance(event, RunAccepted)
    seen = {event.node_id}
    reached = [event.node_id]
    for node_id in reached:
        for following in state.plan.successors[node_id]:
            if following not in seen and state.nodes[following].cause == event.message_id:
                seen.add(following)
                reached.append(following)
                yield following


def _jobs(state: RunState, node_id: str, event: JournalEvent) -> Iterator[Message]:
    node = state.nodes[node_id]
    if node.status is NodeStatus.QUEUED and node.cause == event.message_id:
        about = state.attempt_at(node_id)
        yield NodeExecute(
            **about,
            params=state.plan.nodes[node_id].params,
            inputs=_job_inputs(state, node_id),
            last_attempt=node.attempt >= state.plan.retry_policy(node_id).max_attempts,
        )
        yield NodeQueued(**about, at=event.at)


def _retrying(state: RunState, event: JournalEvent) -> Iterator[Message]:
    if not isinstance(event, NodeFailed):
        return
    node = state.nodes[event.node_id]
    if node.retry_at and node.cause == event.message_id:
        yield NodeRetrying(**event.about, at=event.at, error=event.error, retry_at=node.retry_at)


def _consequences(state: RunState, node_id: str, event: JournalEvent) -> Iterator[Message]:
    yield from _jobs(state, node_id, event)
    node = state.nodes[node_id]
    if state.plan.node_type(node_id).evaluate and node.output:
        yield NodeSucceeded(**state.attempt_at(node_id), at=event.at, output=node.output)
    if node.status is NodeStatus.SKIPPED:
        because_of = _unsuccessful_predecessor(state, node_id)
        yield NodeSkipped(**state.attempt_at(node_id), at=event.at, because_of=because_of)


def _unsuccessful_predecessor(state: RunState, node_id: str) -> str:
    ended_badly = {NodeStatus.FAILED, NodeStatus.SKIPPED}
    sources = (edge.source for edge in state.plan.incoming[node_id])
    return next(source for source in sources if state.nodes[source].status in ended_badly)


def _job_inputs(state: RunState, node_id: str) -> dict[str, tuple[JobInput, ...]]:
    inputs: dict[str, tuple[JobInput, ...]] = {}
    for edge in state.plan.incoming[node_id]:
        output = state.nodes[edge.source].output
        value = value_at(output, edge.source_handle) if output else None
        if value:
            brought = JobInput(source=state.plan.nodes[edge.source].label, value=value)
            inputs[edge.target_handle] = (*inputs.get(edge.target_handle, ()), brought)
    return inputs


def _run_started(state: RunState) -> RunStarted:
    command = state.accepted.command
    return RunStarted(
        run_id=command.run_id,
        at=state.accepted.at,
        workflow_id=command.workflow_id,
        workflow_version=command.workflow_version,
        workflow_name=command.graph.name,
        trigger_run_id=command.trigger_run_id,
        nodes=tuple(_summary(state, node_id) for node_id in state.nodes),
    )


def _summary(state: RunState, node_id: str) -> NodeSummary:
    """Return the node as it was right after the run was accepted, whatever has become of it since."""
    node = state.nodes[node_id]
    evaluated = node.cause == state.accepted.message_id and node.status is NodeStatus.SUCCESS
    return NodeSummary(
        node_id=node_id,
        node_type=state.plan.nodes[node_id].type,
        name=state.plan.nodes[node_id].name,
        status=NodeStatus.SUCCESS if evaluated else NodeStatus.PENDING,
        output=node.output if evaluated else None,
    )


def _run_finished(state: RunState, event: JournalEvent) -> RunFinished:
    counts = Counter(node.status for node in state.nodes.values())
    return RunFinished(
        run_id=event.run_id,
        at=event.at,
        status=state.status,
        total_nodes=len(state.nodes),
        successful_nodes=counts[NodeStatus.SUCCESS],
        failed_nodes=counts[NodeStatus.FAILED],
        skipped_nodes=counts[NodeStatus.SKIPPED],
        cancelled_nodes=counts[NodeStatus.CANCELLED],
        nodes={node_id: node.status for node_id, node in state.nodes.items()},
        result=_result(state),
        problems=state.accepted.problems,
    )


def _result(state: RunState) -> RecordValue | None:
    """Return what the response nodes collected, by result name; None where there is no response."""
    collected = [
        node.output
        for node_id, node in state.nodes.items()
        if state.plan.node_type(node_id).open_inputs and isinstance(node.output, RecordValue)
    ]
    if not collected:
        return None
    return RecordValue(fields={name: value for record in collected for name, value in record.fields.items()})
