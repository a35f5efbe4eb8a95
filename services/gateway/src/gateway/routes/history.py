"""What happened: lists of runs with filters and pages, a run by its caller's name, timelines, statistics."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query

from gateway.dependencies import Connected
from gateway.history import no_run
from gateway.problems import problem_responses
from gateway.routes.runs import RunId
from gateway.routes.workflows import WorkflowId
from gateway.views import RunListQuery, StatisticsQuery, TimelineView
from shared.contracts.history import StatisticsReply, TriggerRunId
from shared.contracts.queries import RunPage, RunView

router = APIRouter(
    prefix="/api/workflows",
    tags=["history"],
    responses=problem_responses(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
)

Wishes = Annotated[RunListQuery, Query()]
CallersName = Annotated[TriggerRunId, Path(alias="triggerRunId")]
_NOT_FOUND = problem_responses(HTTPStatus.NOT_FOUND)


@router.get("/runs", response_model_exclude_none=True)
async def list_runs(connected: Connected, query: Wishes) -> RunPage:
    """List the runs of all workflows, newest first, a page at a time."""
    return await connected.history.list(None, query)


@router.get(
    "/runs/by-trigger/{triggerRunId:path}",
    response_model_exclude_none=True,
    responses=_NOT_FOUND,
)
async def find_run(trigger_run_id: CallersName, connected: Connected) -> RunView:
    """Return the run that its caller gave this name, with its nodes."""
    if tracked := await connected.history.find(trigger_run_id):
        return tracked
    if started := await connected.starts.find(trigger_run_id):
        return await connected.runs.get(started)
    raise no_run(f"with the triggerRunId {trigger_run_id!r}", "triggerRunId")


@router.get("/runs/{runId}/timeline", response_model_exclude_none=True, responses=_NOT_FOUND)
async def get_timeline(run_id: RunId, connected: Connected) -> TimelineView:
    """Tell when each attempt at each node was queued, started and finished."""
    return await connected.history.timeline(run_id)


@router.get("/{workflowId}/runs", response_model_exclude_none=True, responses=_NOT_FOUND)
async def list_workflow_runs(workflow_id: WorkflowId, connected: Connected, query: Wishes) -> RunPage:
    """List the runs of a workflow, newest first, a page at a time."""
    page = await connected.history.list(workflow_id, query)
    if not page.runs:
        await connected.workflows.get(workflow_id)  # no runs of no workflow is a mistake, not an answer
    return page


@router.get(
    "/{workflowId}/statistics",
    response_model_exclude_none=True,
    responses=_NOT_FOUND,
)
async def get_statistics(
    workflow_id: WorkflowId, connected: Connected, query: Annotated[StatisticsQuery, Query()]
) -> StatisticsReply:
    """Tell how the runs of a workflow went, in all and by day: ends, seconds, cost."""
    statistics = await connected.history.statistics(workflow_id, query)
    if not statistics.total.runs:
        await connected.workflows.get(workflow_id)
    return statistics
