"""/api/workflows/runs/{runId}/...: cancel a run, take it up again, do the same once more."""

from http import HTTPStatus

from fastapi import APIRouter, Response

from gateway.dependencies import Connected
from gateway.problems import problem_responses
from gateway.routes.runs import RunId
from gateway.routes.starting import ENDED, START_ERRORS, IdempotencyKey, Wait, concluded, with_key
from gateway.views import CancelRequest, ResumeRequest, StartRequest
from shared.contracts.queries import RunView

router = APIRouter(
    prefix="/api/workflows/runs/{runId}",
    tags=["runs"],
    responses=problem_responses(
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)


@router.post("/cancel", status_code=HTTPStatus.ACCEPTED, response_model_exclude_none=True)
async def cancel_run(run_id: RunId, connected: Connected, request: CancelRequest | None = None) -> RunView:
    """Ask for a run's end: what has succeeded is kept, what is under way is told to stop. The run is as it was."""
    return await connected.runs.cancel(run_id, request.reason if request else None)


@router.post(
    "/resume",
    status_code=HTTPStatus.ACCEPTED,
    response_model_exclude_none=True,
    responses={**problem_responses(*START_ERRORS), **ENDED},
)
async def resume_run(
    run_id: RunId,
    connected: Connected,
    response: Response,
    *,
    idempotency_key: IdempotencyKey = None,
    wait: Wait = 0,
    request: ResumeRequest | None = None,
) -> RunView:
    """Take up a run that has ended, in a new one that reuses what succeeded; params and inputs may be changed."""
    request = with_key(request or ResumeRequest(), idempotency_key)
    subject = f"resume {run_id}"
    run = await connected.starts.start(subject, request, lambda: connected.plans.resume(run_id, request))
    return await concluded(run, connected, response, wait)


@router.post(
    "/replay",
    status_code=HTTPStatus.ACCEPTED,
    response_model_exclude_none=True,
    responses={**problem_responses(*START_ERRORS), **ENDED},
)
async def replay_run(
    run_id: RunId,
    connected: Connected,
    response: Response,
    *,
    idempotency_key: IdempotencyKey = None,
    wait: Wait = 0,
    request: StartRequest | None = None,
) -> RunView:
    """Do the same again in a fresh run: same graph, inputs, scope and options."""
    request = with_key(request or StartRequest(), idempotency_key)
    subject = f"replay {run_id}"
    run = await connected.starts.start(subject, request, lambda: connected.plans.replay(run_id, request))
    return await concluded(run, connected, response, wait)
