"""/api/workflows/runs/{runId}/events, /api/workflows/{workflowId}/events: what happens, as it happens."""

from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from gateway.dependencies import Asking, Connected
from gateway.domain.event_ids import read_event_id
from gateway.event_log import topic_of
from gateway.problems import problem_responses
from gateway.routes.runs import RunId
from gateway.routes.workflows import WorkflowId
from gateway.run_stream import NothingMoreError, RunStream, to_sse
from gateway.views import RunListQuery
from gateway.workflow_stream import WATCHED_RUNS, WorkflowStream, shown_to_sse
from shared.contracts.queries import RunPage

RECHECK_PATIENCE = 2.0  # seconds that live events may wait while the tracker is asked

LastEventId = Annotated[
    str | None, Header(description="the id of the last event that was received: what follows it is told")
]

router = APIRouter(
    prefix="/api/workflows",
    tags=["live"],
    responses=problem_responses(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
)
_NOTHING_MORE: dict[int | str, dict[str, Any]] = {
    int(HTTPStatus.NO_CONTENT): {"description": "The run has ended, and `Last-Event-ID` says that this was received."}
}


async def _open_run(
    run_id: RunId, connected: Connected, last_event_id: LastEventId = None
) -> AsyncGenerator[RunStream]:
    runs, live = connected.runs, connected.live
    last = read_event_id(last_event_id)
    first = await runs.get(run_id)
    if last and last.ends:
        raise NothingMoreError(run_id)
    with live.subscribe(run_id, live.log.newest) as subscription:
        yield RunStream(
            first,
            live.log,
            subscription,
            lambda: runs.get(run_id, patience=RECHECK_PATIENCE),
            after=last.position if last else None,
        )


@router.get("/runs/{runId}/events", response_class=EventSourceResponse, responses=_NOTHING_MORE)
async def watch_run(stream: Annotated[RunStream, Depends(_open_run)]) -> AsyncGenerator[ServerSentEvent]:
    """Watch a run: `run.snapshot` with its nodes first, then its events as they happen; ends when the run does.

    A client that comes back with `Last-Event-ID`, here or at another gateway, is told what follows: nothing is missing,
    nothing is told twice. Where that is not kept any more, or events were lost, it gets another `run.snapshot`, which
    replaces all it was told before. The pieces of answers (`node.progress`) have an `offset`, to put them together by.
    """
    async for told in stream.updates():
        yield to_sse(told)


async def _open_workflow(
    workflow_id: WorkflowId, connected: Connected, caller: Asking, last_event_id: LastEventId = None
) -> AsyncGenerator[WorkflowStream]:
    log, last = connected.live.log, read_event_id(last_event_id)

    async def ask() -> RunPage:
        page = await connected.history.list(workflow_id, RunListQuery(limit=WATCHED_RUNS))
        for run in page.runs:
            log.belongs(run.run_id, workflow_id, run.owner)
        return page

    await connected.workflows.get(workflow_id)
    newest = log.newest
    first = await ask()
    resumes = last is not None and log.covers(last.position)
    position = last.position if last and resumes else newest
    with connected.live.subscribe(topic_of(workflow_id, caller.sees_only), position) as subscription:
        yield WorkflowStream(first, log, subscription, ask, position=position, resumes=resumes)


@router.get("/{workflowId}/events", response_class=EventSourceResponse)
async def watch_workflow(
    stream: Annotated[WorkflowStream, Depends(_open_workflow)],
) -> AsyncGenerator[ServerSentEvent]:
    """Watch a workflow: `workflow.snapshot` with its newest runs first, then the events of all its runs.

    It does not end by itself. `Last-Event-ID` does what it does for runs; the ids are the same.
    """
    async for told in stream.updates():
        yield shown_to_sse(told)
