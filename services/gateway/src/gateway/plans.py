"""What a run consists of: from a request, and what is known of workflows and earlier runs, to a command."""

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid4

from gateway.domain.callers import NOBODY, Caller
from gateway.domain.resume import Changes, replay, resume
from gateway.domain.scope import with_current_sources, with_earlier_outputs
from gateway.runs import Runs
from gateway.tracker_client import TrackerClient
from gateway.views import ExecuteRequest, ResumeFrom, ResumeRequest, StartRequest, WorkflowView
from gateway.workflows import Workflows
from shared.contracts.commands import RunStart
from shared.contracts.errors import InvalidInputError, invalid
from shared.contracts.queries import RunView
from shared.contracts.scopes import Selection
from shared.contracts.states import FINAL_RUN_STATUSES, NodeStatus
from shared.contracts.validation import ensure_startable

Planned = RunStart | InvalidInputError


class Plans:
    """Makes commands that start runs; nothing is started by it.

    Every method raises InvalidInputError with all that keeps the run from being started, and UnavailableError where
    something that must be asked is away.
    """

    def __init__(self, workflows: Workflows, runs: Runs, tracker: TrackerClient, caller: Caller = NOBODY) -> None:
        self._workflows = workflows
        self._runs = runs
        self._tracker = tracker
        self._caller = caller

    def seen_by(self, caller: Caller) -> "Plans":
        """Return what makes plans of what a caller sees."""
        return Plans(self._workflows.seen_by(caller), self._runs.seen_by(caller), self._tracker, caller)

    async def execute(self, workflow_id: UUID, request: ExecuteRequest) -> RunStart:
        """Return how to run the latest version of a workflow, or a part of it; raise `workflow_not_found`."""
        workflow = await self._workflows.get(workflow_id)
        selection = await self._selection(workflow, request)
        return _command(workflow, request, selection)

    async def execute_batch(self, workflow_id: UUID, requests: Sequence[ExecuteRequest]) -> list[Planned]:
        """Return for each request of a full run how to run the workflow, or what is wrong with it."""
        workflow = await self._workflows.get(workflow_id)
        plans: list[Planned] = []
        for request in requests:
            plans.append(_planned(workflow, request))
            await asyncio.sleep(0)  # others are not to wait for a thousand
        return plans

    async def resume(self, run_id: UUID, request: ResumeRequest) -> RunStart:
        """Return how to take up a run that has ended; raise `run_not_found`, `run_not_finished`, `command_not_kept`."""
        run = await self._runs.begun(run_id)
        if run.status not in FINAL_RUN_STATUSES:
            raise invalid(
                "run_not_finished",
                f"the run {run_id} is {run.status}; what it will make is not known yet",
                where="runId",
                fix="wait for its end, or cancel it",
            )
        successes = {
            node.node_id: node.output for node in run.nodes or () if node.status is NodeStatus.SUCCESS and node.output
        }
        return _named(resume(await self._command(run), successes, _changes(request)), request)

    async def replay(self, run_id: UUID, request: StartRequest) -> RunStart:
        """Return how to do the same again; raise `run_not_found` or `command_not_kept`."""
        return _named(replay(await self._command(await self._runs.begun(run_id))), request)

    async def _selection(self, workflow: WorkflowView, request: ExecuteRequest) -> Selection:
        wanted = Selection(request.scope, request.nodes, request.pinned)
        selection = with_current_sources(workflow.graph, request.inputs, wanted)
        if lacking := selection.lacking(workflow.graph):
            outputs = await self._tracker.find_outputs(workflow.id, lacking, owner=self._caller.sees_only)
            selection = with_earlier_outputs(workflow.graph, selection, outputs)
        return selection

    async def _command(self, run: RunView) -> RunStart:
        command = await self._tracker.get_command(run.run_id)
        if command is None:
            raise invalid(
                "command_not_kept",
                f"of the run {run.run_id} it was not recorded how it was asked for",
                where="runId",
                fix="execute its workflow",
            )
        return command


def _planned(workflow: WorkflowView, request: ExecuteRequest) -> Planned:
    try:
        selection = with_current_sources(workflow.graph, request.inputs, Selection())
        return _command(workflow, request, selection)
    except InvalidInputError as err:
        return err


def _command(workflow: WorkflowView, request: ExecuteRequest, selection: Selection) -> RunStart:
    command = RunStart(
        run_id=request.run_id or uuid4(),
        graph=workflow.graph.model_copy(update={"name": workflow.name}),
        inputs=request.inputs,
        workflow_id=workflow.id,
        workflow_version=workflow.version,
        trigger_run_id=request.trigger_run_id,
        scope=selection.scope,
        selected=selection.selected,
        given=dict(selection.given or {}),
        options=request.options,
        tags=request.tags,
        metadata=request.metadata,
    )
    return _checked(command)


def _changes(request: ResumeRequest) -> Changes:
    return Changes(
        afresh=request.from_ is ResumeFrom.START,
        from_node=request.from_node,
        params=request.params,
        inputs=request.inputs,
        options=request.options,
    )


def _named(command: RunStart, request: StartRequest) -> RunStart:
    """Return a command that was made of another one's, with ids of its own."""
    if request.run_id == command.run_id:
        raise invalid(
            "run_conflict",
            f"the id {command.run_id} is that of the earlier run",
            where="runId",
            fix="choose another one for the new run, or none",
        )
    ids = {"run_id": request.run_id or uuid4(), "trigger_run_id": request.trigger_run_id}
    return _checked(command.model_copy(update=ids))


def _checked(command: RunStart) -> RunStart:
    selection = Selection(command.scope, command.selected, command.given)
    ensure_startable(command.graph, command.inputs, selection)
    return command
