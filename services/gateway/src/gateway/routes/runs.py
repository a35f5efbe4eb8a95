"""/api/workflows/runs/{runId}: one run, its live events, and what it is waiting for."""

from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from gateway.dependencies import Connected
from gateway.problems import problem_responses
from gateway.run_stream import RunStream, to_sse
from shared.contracts.queries import RunView, WhyReply

RECHECK_PATIENCE = 2.0  # seconds that live events may wait while the tracker is asked

RunId = Annotated[UUID, Path(alias="runId")]

router = APIRouter(
    prefix="/api/workflows/runs",
    tags=["runs"],
    responses=problem_responses(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
)


@router.get("/{runId}", response_model_exclude_none=True, responses=problem_responses(HTTPStatus.NOT_FOUND))
async def get_run(run_id: RunId, connected: Connected) -> RunView:
    """Return a run with its nodes, as it is known now."""
    return await connected.runs.get(run_id)


async def _open_stream(run_id: RunId, connected: Connected) -> AsyncGenerator[RunStream]:
    with connected.live.subscribe(run_id) as subscription:
        first = await connected.runs.get(run_id)
        yield RunStream(first, subscription, lambda: connected.runs.get(run_id, patience=RECHECK_PATIENCE))


@router.get("/{runId}/events", response_class=EventSourceResponse, responses=problem_responses(HTTPStatus.NOT_FOUND))
async def watch_run(stream: Annotated[RunStream, Depends(_open_stream)]) -> AsyncGenerator[ServerSentEvent]:
    """Watch a run: `run.snapshot` with its nodes first, then its events as they happen; ends when the run does.

    A client that may have missed events gets another `run.snapshot`, which replaces all it was told before.
    """
    async for update in stream.updates():
        yield to_sse(update)


@router.get("/{runId}/why", response_model_exclude_none=True, responses=problem_responses(HTTPStatus.NOT_FOUND))
async def explain_run(
    run_id: RunId,
    connected: Connected,
    node: Annotated[str | None, Query(description="id of the node to explain; else those that have not ended")] = None,
) -> WhyReply:
    """Tell what a run, or one node of it, is waiting for; one that has ended waits for nothing."""
    return await connected.explanations.why(run_id, node)
