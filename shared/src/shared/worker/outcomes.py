"""What can come of a job, and the event that tells it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

from shared.contracts.commands import NodeExecute
from shared.contracts.errors import Problem
from shared.contracts.events import NodeFailed, NodeSucceeded, Usage
from shared.contracts.values import Value


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The node has its output. `warnings` tell what a person may want to know of it all the same."""

    output: Value
    usage: Usage | None = None
    warnings: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Retryable:
    """This attempt failed, another may not; not before `retry_after` seconds, where the cause names a time.

    `usage` is what the attempt cost all the same.
    """

    problem: Problem
    retry_after: float | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Permanent:
    """The node failed, and would fail again. `usage` is what the attempt cost all the same."""

    problem: Problem
    usage: Usage | None = None


class Execution(TypedDict):
    """When a job was done, by the worker's clock, and by which process; `seconds` is what its body took."""

    worker: str
    started_at: datetime
    at: datetime
    seconds: float


Outcome = Succeeded | Retryable | Permanent
Body = Callable[[NodeExecute], Awaitable[Outcome]]
Result = NodeSucceeded | NodeFailed


def result_event(job: NodeExecute, outcome: Outcome, execution: Execution) -> Result:
    """Return the event that tells a job's outcome."""
    match outcome:
        case Succeeded(output, usage, warnings):
            return NodeSucceeded(
                **job.about,
                **execution,
                queued_at=job.queued_at,
                output=output,
                usage=usage,
                warnings=tuple(warning.model_copy(update={"node_id": job.node_id}) for warning in warnings),
            )
        case Retryable(problem) | Permanent(problem):
            return NodeFailed(
                **job.about,
                **execution,
                queued_at=job.queued_at,
                error=problem.model_copy(update={"node_id": job.node_id}),
                retryable=isinstance(outcome, Retryable) and not job.last_attempt,
                retry_after=outcome.retry_after if isinstance(outcome, Retryable) else None,
                usage=outcome.usage,
            )


def timed_out(job: NodeExecute) -> Retryable:
    """Return the outcome of an attempt whose body did not end within the job's timeout."""
    return Retryable(
        Problem(
            code="node_timeout",
            message=f"the {job.node_type} worker did not end within {job.timeout:g} s",
            node_id=job.node_id,
            fix="give the node a longer timeout, or less to do",
        )
    )


def unpublishable(result: NodeSucceeded, problem: Problem) -> NodeFailed:
    """Return what is told instead of a result that no message can hold; what it cost is told all the same."""
    error = problem.model_copy(update={"node_id": result.node_id, "fix": "ask for less output"})
    return NodeFailed(
        **result.about,
        at=result.at,
        seconds=result.seconds,
        error=error,
        usage=result.usage,
        queued_at=result.queued_at,
        started_at=result.started_at,
        worker=result.worker,
    )


def met_defect(job: NodeExecute, defect: str) -> Permanent:
    """Return the outcome of an attempt whose body ended in a way that no body should; nothing but its kind is told."""
    return Permanent(
        Problem(
            code="internal_error",
            message=f"the {job.node_type} worker met a defect: {defect}",
            node_id=job.node_id,
            fix="look at the worker's log",
        )
    )
