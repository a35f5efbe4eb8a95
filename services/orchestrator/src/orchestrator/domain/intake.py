"""What a message from outside means for a run: an event that changes it, a repetition, or nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from orchestrator.domain.decide import decide
from orchestrator.domain.evolve import evolve, is_news, selection_of
from orchestrator.domain.state import JournalEvent, NodeEvent, NodeReplayed, RunAccepted, RunCancelled, RunState
from shared.contracts.commands import (
    MAX_START_BYTES,
    NodeExecute,
    NodeExpire,
    NodeReplay,
    NodeRetry,
    RunAdmit,
    RunCancel,
    RunExpire,
    RunStart,
)
from shared.contracts.envelope import Message
from shared.contracts.errors import Problem
from shared.contracts.events import NodeFailed, NodeLasting, NodeLate, NodeSucceeded, RunRejected, WorkerMessage
from shared.contracts.graph import WorkflowGraph
from shared.contracts.states import NodeStatus
from shared.contracts.validation import find_start_problems

Incoming = (
    RunStart
    | RunCancel
    | RunAdmit
    | RunExpire
    | NodeRetry
    | NodeReplay
    | NodeExpire
    | NodeLasting
    | NodeSucceeded
    | NodeFailed
    | NodeExecute
)


@dataclass(frozen=True, slots=True)
class Intake:
    """What to make of one message.

    `state` is the run afterwards. `event` is what the message means for the run, None if nothing; to be journaled if it
    `is_new`, else a repetition. `messages` are to be published besides those that follow from the event.
    """

    state: RunState | None
    event: JournalEvent | None = None
    is_new: bool = False
    messages: tuple[Message, ...] = ()


def take_in(state: RunState | None, message: Incoming, *, now: datetime) -> Intake:
    """Return what to make of a message; a repetition changes nothing.

    `state` is None for a run without a journal: a new one, or one that ended so long ago that its journal is
    gone. Whatever but a start reaches the latter is without effect.
    """
    if isinstance(message, RunStart):
        return _take_in_start(state, message, now)
    if state is None:
        return Intake(None)
    match message:
        case RunCancel():
            return _take_in_run_event(state, RunCancelled(run_id=message.run_id, at=now, reason=message.reason))
        case RunAdmit() | RunExpire():
            return _take_in_run_event(state, message)
        case NodeExecute():
            return _take_in_dead_job(state, message, now)
        case _:
            return _take_in_node_message(state, message, now)


def decided(state: RunState | None, intake: Intake) -> list[Message]:
    """Return all that is to be published because of a message, where `state` is the run after the whole batch."""
    if intake.event is None or state is None:
        return list(intake.messages)
    return [*intake.messages, *decide(state, intake.event)]


def _take_in_start(state: RunState | None, command: RunStart, now: datetime) -> Intake:
    if state is None:
        event = _accepted(command, now)
        return Intake(evolve(None, event), event, is_new=True)
    if state.accepted.command.digest != command.digest and not state.accepted.problems:
        return Intake(state, messages=(rejected(command, command.run_id, same=False, now=now),))
    return Intake(state, state.accepted)


def _accepted(command: RunStart, now: datetime) -> RunAccepted:
    if size := _excess(command):
        problem = Problem(
            code="start_too_large",
            message=f"the start of a run may have {MAX_START_BYTES:,} bytes, and has {size:,}",
            fix="use a smaller workflow; supply pictures as uploads and long texts in several inputs",
        )
        command = command.model_copy(update={"graph": WorkflowGraph(nodes=()), "inputs": {}, "given": {}})
        return RunAccepted(run_id=command.run_id, at=now, command=command, problems=(problem,))
    problems = tuple(find_start_problems(command.graph, command.inputs, selection_of(command)))
    return RunAccepted(run_id=command.run_id, at=now, command=command, problems=problems)


def _excess(command: RunStart) -> int:
    size = len(command.to_json())
    return size if size > MAX_START_BYTES else 0


def rejected(command: RunStart, existing: object, *, same: bool, now: datetime) -> RunRejected:
    """Return the refusal of a start whose id, or whose `triggerRunId`, is that of an `existing` run."""
    own = command.run_id == existing
    name = f"the id {command.run_id}" if own else f"the triggerRunId {command.trigger_run_id!r}"
    problem = Problem(
        code="already_started" if same else "run_conflict" if own else "trigger_conflict",
        message=f"{name} belongs to the run {existing}, started with {'the same' if same else 'another'} content",
        where="runId" if own else "triggerRunId",
        fix="follow that run" if same else "choose another one for what is to be another run",
    )
    return RunRejected.model_validate(
        {"run_id": command.run_id, "at": now, "existing_run_id": existing, "problem": problem}, by_name=True
    )


def _take_in_run_event(state: RunState, event: RunCancelled | RunAdmit | RunExpire) -> Intake:
    if event.message_id in state.caused:
        return Intake(state, event)
    following = evolve(state, event)
    return Intake(state) if following is state else Intake(following, event, is_new=True)


def _event(state: RunState, message: NodeEvent | NodeReplay, now: datetime) -> NodeEvent:
    """Return what a message means for its node.

    What comes from outside is dated when it is taken in: workers' clocks may differ, and outages take their time.
    """
    if isinstance(message, NodeReplay):
        return _replayed(state, message, now)
    return message.model_copy(update={"at": now}) if isinstance(message, WorkerMessage) else message


def _replayed(state: RunState, command: NodeReplay, now: datetime) -> NodeReplayed:
    event = NodeReplayed(**command.about, at=now, params=command.params)
    if command.params is None or not is_news(state, event):
        return event
    return event.model_copy(update={"problem": _misfit(state, command.node_id, command.params)})


def _misfit(state: RunState, node_id: str, params: Mapping[str, JsonValue]) -> Problem | None:
    """Return why a node cannot have other params; None if it can."""
    command, edited = state.accepted.command, state.plan.with_params(node_id, params).nodes
    nodes = tuple(edited.get(node.id, node) for node in command.graph.nodes)
    graph = command.graph.model_copy(update={"nodes": nodes})
    return next(iter(find_start_problems(graph, command.inputs, selection_of(command))), None)


def _take_in_node_message(state: RunState, message: NodeEvent | NodeReplay, now: datetime) -> Intake:
    event = _event(state, message, now)
    if is_news(state, event):
        return Intake(evolve(state, event), event, is_new=True)
    if event.message_id in state.caused:
        return Intake(state, event)
    return Intake(state, messages=tuple(_late(message)))


def _late(message: NodeEvent | NodeReplay) -> list[Message]:
    """Tell of a result that came too late, dated as its worker did: so it is the same one when it comes once more."""
    if not isinstance(message, NodeSucceeded | NodeFailed):
        return []
    outcome = NodeStatus.SUCCESS if isinstance(message, NodeSucceeded) else NodeStatus.FAILED
    return [NodeLate(**message.about, at=message.at, outcome=outcome, usage=message.usage)]


def _take_in_dead_job(state: RunState, job: NodeExecute, now: datetime) -> Intake:
    """Fail the node of a job that came back dead; unlike a worker's result, nobody has told of it yet."""
    failed = NodeFailed(**job.about, at=now, error=_worker_crashed(job), queued_at=job.queued_at)
    if not is_news(state, failed) and failed.message_id not in state.caused:
        return Intake(state)  # what came of the attempt was told by its result
    intake = _take_in_node_message(state, failed, now)
    assert intake.state
    node = intake.state.nodes[job.node_id]
    if node.cause != failed.message_id or node.error != failed.error:
        return Intake(state)  # the worker told itself of another failure
    return Intake(intake.state, failed, is_new=intake.is_new, messages=(failed,))


def _worker_crashed(job: NodeExecute) -> Problem:
    return Problem(
        code="worker_crashed",
        message=f"the job was given up after every {job.node_type} worker that took it had ended before its result",
        node_id=job.node_id,
        fix=f"look at the workers' logs, and at the job in the dead-letter queue of {job.node_type}; "
        "once the cause is mended, it can be replayed from there",
    )
