"""/api/workflows/{workflowId}/execute, /execute-batch: start runs of a workflow."""

from http import HTTPStatus

from fastapi import APIRouter, Response

from gateway.dependencies import Connected
from gateway.problems import problem_responses
from gateway.routes.starting import ENDED, START_ERRORS, IdempotencyKey, Wait, concluded, with_key
from gateway.routes.workflows import WorkflowId
from gateway.views import BatchReply, BatchRequest, ExecuteRequest
from shared.contracts.queries import RunView

router = APIRouter(
    prefix="/api/workflows/{workflowId}",
    tags=["runs"],
    responses=problem_responses(*START_ERRORS, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
)


@router.post("/execute", status_code=HTTPStatus.ACCEPTED, response_model_exclude_none=True, responses=ENDED)
async def execute_workflow(
    workflow_id: WorkflowId,
    connected: Connected,
    response: Response,
    *,
    idempotency_key: IdempotencyKey = None,
    wait: Wait = 0,
    request: ExecuteRequest | None = None,
) -> RunView:
    """Start a run of the latest version, or of a part of it. Accepted means that the start is safe in the broker."""
    request = with_key(request or ExecuteRequest(), idempotency_key)
    subject = f"execute {workflow_id}"
    run = await connected.starts.start(subject, request, lambda: connected.plans.execute(workflow_id, request))
    return await concluded(run, connected, response, wait)


@router.post("/execute-batch", status_code=HTTPStatus.ACCEPTED, response_model_exclude_none=True)
async def execute_workflow_batch(
    workflow_id: WorkflowId, request: BatchRequest, connected: Connected, idempotency_key: IdempotencyKey = None
) -> BatchReply:
    """Start a run of the latest version for each of up to 1,000 inputs, each with a result of its own.

    With an `Idempotency-Key`, the same again starts nothing new, whatever became of the first request: what had been
    started is told again, the rest is started.
    """
    return await connected.batches.start(workflow_id, request, idempotency_key)
