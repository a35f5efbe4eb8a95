"""/api/workflows/runs/{runId}: one run, and what it is waiting for."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query

from gateway.dependencies import Connected
from gateway.problems import problem_responses
from shared.contracts.queries import RunView, WhyReply

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


@router.get("/{runId}/why", response_model_exclude_none=True, responses=problem_responses(HTTPStatus.NOT_FOUND))
async def explain_run(
    run_id: RunId,
    connected: Connected,
    node: Annotated[str | None, Query(description="id of the node to explain; else those that have not ended")] = None,
) -> WhyReply:
    """Tell what a run, or one node of it, is waiting for; one that has ended waits for nothing."""
    return await connected.explanations.why(run_id, node)
