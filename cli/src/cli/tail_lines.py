"""How the events of many runs are told, each in one line."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from uuid import UUID

from cli.output import StreamOutput
from cli.render import write_line_now
from cli.words import seconds_between
from shared.client.following import WorkflowUpdate
from shared.contracts.envelope import NodeMessage
from shared.contracts.events import (
    LiveEvent,
    NodeFailed,
    NodeProgress,
    NodeRetrying,
    NodeStarted,
    NodeSucceeded,
    RunFinished,
    RunQueued,
    RunRejected,
    RunStarted,
)
from shared.contracts.queries import RunPage, RunView
from shared.contracts.states import FINAL_RUN_STATUSES

_SHORT_ID = 8


def teller(output: StreamOutput) -> Callable[[UUID, WorkflowUpdate], None]:
    """Return what writes each update of a workflow at once, in the form that was asked for."""
    lines = TailLines(datetime.now(UTC))

    def tell(workflow_id: UUID, update: WorkflowUpdate) -> None:
        if output is StreamOutput.TEXT:
            told = lines.lines(update)
        else:
            told = filter(None, (as_json_line(workflow_id, update),))
        for line in told:
            write_line_now(line)

    return tell


class TailLines:
    """Lines for people. Of runs that were there before, those are told that go on."""

    def __init__(self, began: datetime) -> None:
        self._began = began
        self._states: dict[UUID, str] = {}
        self._names: dict[UUID, dict[str, str]] = {}

    def lines(self, update: WorkflowUpdate) -> Iterator[str]:
        """Yield what is to be written of an update: nothing of the pieces of answers."""
        match update:
            case RunPage():
                yield from filter(None, map(self._of_run, reversed(update.runs)))
            case NodeProgress():
                return
            case NodeMessage():
                yield _line(update.at, str(update.run_id)[:_SHORT_ID], update.kind_name(), self._of_node(update))
            case _:
                self._remember(update)
                yield _line(update.at, str(update.run_id), update.kind_name(), _of_run_event(update))

    def _of_run(self, run: RunView) -> str | None:
        is_news = run.status not in FINAL_RUN_STATUSES or (run.finished_at or self._began) > self._began
        if not is_news or self._states.get(run.run_id) == run.status:
            return None
        self._states[run.run_id] = run.status
        at = run.finished_at or run.created_at or self._began
        return _line(at, str(run.run_id), f"is {run.status}", run.workflow_name or "")

    def _remember(self, event: LiveEvent) -> None:
        match event:
            case RunQueued() | RunStarted():
                self._states[event.run_id] = "queued" if isinstance(event, RunQueued) else "running"
                self._names[event.run_id] = {node.node_id: node.name for node in event.nodes if node.name}
            case RunFinished():
                self._states[event.run_id] = event.status
                self._names.pop(event.run_id, None)
            case _:
                pass

    def _of_node(self, event: NodeMessage) -> str:
        name = self._names.get(event.run_id, {}).get(event.node_id, event.node_id)
        attempt = f" #{event.attempt}" if event.attempt > 1 else ""
        return f"{name}{attempt}  {_of_node_event(event)}".rstrip()


def as_json_line(workflow_id: UUID, update: WorkflowUpdate) -> str | None:
    """Return an update as JSON on one line: an event as it is, or the `workflow.snapshot` that events go on from."""
    match update:
        case RunPage():
            known = json.loads(update.to_json())
            return json.dumps({"kind": "workflow.snapshot", "workflowId": str(workflow_id), **known})
        case NodeProgress():
            return None
        case _:
            return update.to_json().decode()


def _line(at: datetime, run: str, kind: str, remark: str) -> str:
    return f"{at.astimezone(UTC):%H:%M:%S}  {run}  {kind}  {remark}".rstrip()


def _of_run_event(event: LiveEvent) -> str:
    match event:
        case RunQueued() | RunStarted():
            return f"{event.workflow_name or ''}  {len(event.nodes):,} nodes".strip()
        case RunFinished():
            return f"{event.status}: {event.successful_nodes:,} of {event.total_nodes:,} nodes succeeded"
        case RunRejected():
            return f"{event.problem.code}: {event.problem.message}"
        case _:
            return ""


def _of_node_event(event: NodeMessage) -> str:
    match event:
        case NodeStarted():
            return event.worker
        case NodeSucceeded():
            return "cached" if event.cached else "" if event.seconds is None else f"{event.seconds:.2f} s"
        case NodeRetrying():
            pause = seconds_between(event.at, event.retry_at) or 0.0
            return f"in {pause:.1f} s: {event.error.code}: {event.error.message}"
        case NodeFailed():
            return f"{event.error.code}: {event.error.message}"
        case _:
            return ""
