"""The history of a run as it would have been told: what happened to it and its nodes, in order; no I/O."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from cli.words import late_note, seconds_between
from shared.contracts.base import Contract
from shared.contracts.errors import Problem
from shared.contracts.queries import AttemptView, NodeView, RunView
from shared.contracts.states import NodeStatus

_KINDS = {
    NodeStatus.SUCCESS: "node.succeeded",
    NodeStatus.FAILED: "node.failed",
    NodeStatus.RETRYING: "node.retrying",
    NodeStatus.SKIPPED: "node.skipped",
    NodeStatus.CANCELLED: "node.cancelled",
}


class Happening(Contract):
    """One thing that happened. `kind` is that of the event which told it, or `run.created`; times are UTC."""

    at: datetime
    kind: str
    node_id: str | None = None
    name: str | None = None
    attempt: int | None = None
    worker: str | None = None
    seconds: float | None = None
    message: str | None = None
    error: Problem | None = None

    def as_row(self) -> tuple[str, str, str, str]:
        """Return time, kind, node and remark as they are shown to people."""
        attempt = f" #{self.attempt}" if self.attempt and self.attempt > 1 else ""
        node = f"{self.name or self.node_id}{attempt}" if self.node_id else ""
        took = "" if self.seconds is None else f"{self.seconds:.2f} s"
        error = f"{self.error.code}: {self.error.message}" if self.error else ""
        remarks = (took, self.worker, self.message, error)
        return self.at.strftime("%H:%M:%S.%f")[:-3], self.kind, node, "  ".join(part for part in remarks if part)


class History(Contract):
    """All that happened to a run, the earliest first."""

    run_id: UUID
    events: tuple[Happening, ...]


def history_of(run: RunView) -> History:
    """Return what is known to have happened; what has no time, as sources, did nothing that could be told."""
    # The sort is stable: what happened at the same moment stays in the order in which it was told.
    events = sorted(_happenings(run), key=lambda event: event.at)
    return History(run_id=run.run_id, events=tuple(events))


def _happenings(run: RunView) -> Iterator[Happening]:
    if run.created_at:
        yield Happening(at=run.created_at, kind="run.created", message=run.workflow_name)
    for node in run.nodes or ():
        yield from _of_node(node)
    if run.finished_at:
        seconds = seconds_between(run.created_at, run.finished_at)
        yield Happening(at=run.finished_at, kind="run.finished", message=str(run.status), seconds=seconds)


def _of_node(node: NodeView) -> Iterator[Happening]:
    for attempt in node.attempts:
        yield from _of_attempt(node, attempt)
    if not node.attempts and node.finished_at and (kind := _KINDS.get(node.status)):
        yield _of(node, node.finished_at, kind, message="cached" if node.cached else None)
    for late in node.late:
        yield _of(node, late.at, "node.late", attempt=late.attempt, message=late_note(late))


def _of_attempt(node: NodeView, attempt: AttemptView) -> Iterator[Happening]:
    number = attempt.attempt
    if attempt.queued_at:
        yield _of(node, attempt.queued_at, "node.queued", attempt=number)
    if attempt.started_at:
        yield _of(node, attempt.started_at, "node.started", attempt=number, worker=attempt.worker)
    is_tried_again = number < node.attempt or node.status is NodeStatus.RETRYING
    kind = "node.retrying" if is_tried_again else _KINDS.get(attempt.status)
    if attempt.finished_at and kind:
        yield _of(node, attempt.finished_at, kind, attempt=number, seconds=attempt.seconds, error=attempt.error)


def _of(node: NodeView, at: datetime, kind: str, **more: Any) -> Happening:
    return Happening(at=at, kind=kind, node_id=node.node_id, name=node.name, **more)
