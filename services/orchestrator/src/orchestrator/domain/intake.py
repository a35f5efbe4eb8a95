"""What a message from outside means for a run: a new event, a repetition, or nothing."""

from dataclasses import dataclass, replace
from datetime import datetime

from orchestrator.domain.decide import decide
from orchestrator.domain.evolve import evolve, is_repeat
from orchestrator.domain.state import JournalEvent, RunAccepted, RunState
from shared.contracts.errors import Problem
from shared.contracts.messages import Message, NodeExecute, NodeFailed, NodeRetry, NodeSucceeded, RunStart
from shared.contracts.states import NodeStatus
from shared.contracts.validation import find_start_problems

Incoming = RunStart | NodeRetry | NodeSucceeded | NodeFailed | NodeExecute


@dataclass(frozen=True, slots=True)
class Decision:
    """The run afterwards, the event to append to its journal (None for a repetition), the messages to publish."""

    state: RunState | None
    event: JournalEvent | None
    messages: tuple[Message, ...] = ()


def take_in(state: RunState | None, message: Incoming, *, now: datetime) -> Decision:
    """Decide about one message; a repetition appends nothing and yields the messages of the first time again.

    `state` is None for a run without a journal: a new one, or one that ended so long ago that its journal is
    gone. A result for the latter is without effect.
    """
    if isinstance(message, RunStart):
        return _take_in_start(state, message, now)
    if state is None:
        return Decision(None, None)
    if isinstance(message, NodeExecute):
        return _take_in_dead_job(state, message, now)
    if is_repeat(state, message):
        return Decision(state, None, tuple(decide(state, message)))
    return _accept(state, message)


def _take_in_dead_job(state: RunState, job: NodeExecute, now: datetime) -> Decision:
    """Fail the node of a job that came back dead; unlike a worker's result, nobody has told of it yet."""
    failed = NodeFailed(**job.about, at=now, error=_worker_crashed(job))
    decision = take_in(state, failed, now=now)
    assert decision.state
    node = decision.state.nodes[job.node_id]
    if node.status is not NodeStatus.FAILED or node.cause != failed.message_id:
        return Decision(state, None)  # what came of the attempt was told by its result
    return replace(decision, messages=(failed, *decision.messages))


def _worker_crashed(job: NodeExecute) -> Problem:
    return Problem(
        code="worker_crashed",
        message=f"the job was given up after every {job.node_type} worker that took it had ended before its result",
        node_id=job.node_id,
        fix=f"look at the workers' logs, and at the job in the dead-letter queue of {job.node_type}",
    )


def _take_in_start(state: RunState | None, command: RunStart, now: datetime) -> Decision:
    if state is not None:
        return Decision(state, None, tuple(decide(state, state.accepted)))
    problems = tuple(find_start_problems(command.graph, command.inputs))
    return _accept(None, RunAccepted(run_id=command.run_id, at=now, command=command, problems=problems))


def _accept(state: RunState | None, event: JournalEvent) -> Decision:
    following = evolve(state, event)
    return Decision(following, event, tuple(decide(following, event)))
