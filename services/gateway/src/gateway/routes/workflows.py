"""/api/workflows: keep workflows, find them, execute them."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Path, Query, Response

from gateway.dependencies import Connected
from gateway.problems import problem_responses
from gateway.routes.starting import START_ERRORS, IdempotencyKey, located, with_key
from gateway.views import ExecuteRequest, WorkflowDraft, WorkflowList, WorkflowView
from shared.contracts.errors import InvalidInputError
from shared.contracts.graph import read_graph
from shared.contracts.history import MAX_PAGE
from shared.contracts.queries import RunView
from shared.contracts.validation import find_problems

UNTITLED = "untitled"

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="how many at most")]
WorkflowId = Annotated[UUID, Path(alias="workflowId")]

router = APIRouter(
    prefix="/api/workflows",
    tags=["workflows"],
    responses=problem_responses(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
)


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    response_model_exclude_none=True,
    responses={
        **problem_responses(HTTPStatus.CONFLICT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        int(HTTPStatus.OK): {"model": WorkflowView, "description": "It was kept before."},
    },
)
async def create_workflow(draft: WorkflowDraft, connected: Connected, response: Response) -> WorkflowView:
    """Keep a workflow. All that is wrong with it is told at once."""
    graph = read_graph(draft.graph)
    if problems := find_problems(graph):
        raise InvalidInputError(*problems)
    name = draft.name or graph.name or UNTITLED
    workflow, is_new = await connected.workflows.add(draft.id or uuid4(), name, graph)
    if not is_new:
        response.status_code = HTTPStatus.OK
    return workflow


@router.get("")
async def list_workflows(connected: Connected, limit: Limit = 50) -> WorkflowList:
    """List the latest version of each workflow, newest first."""
    return WorkflowList(workflows=await connected.workflows.newest(limit))


@router.get("/{workflowId}", response_model_exclude_none=True, responses=problem_responses(HTTPStatus.NOT_FOUND))
async def get_workflow(workflow_id: WorkflowId, connected: Connected) -> WorkflowView:
    """Return the latest version of a workflow."""
    return await connected.workflows.get(workflow_id)


@router.post(
    "/{workflowId}/execute",
    status_code=HTTPStatus.ACCEPTED,
    response_model_exclude_none=True,
    responses=problem_responses(*START_ERRORS),
)
async def execute_workflow(
    workflow_id: WorkflowId,
    connected: Connected,
    response: Response,
    idempotency_key: IdempotencyKey = None,
    request: ExecuteRequest | None = None,
) -> RunView:
    """Start a run of the latest version, or of a part of it. Accepted means that the start is safe in the broker."""
    request = with_key(request or ExecuteRequest(), idempotency_key)
    subject = f"execute {workflow_id}"
    run = await connected.starts.start(subject, request, lambda: connected.plans.execute(workflow_id, request))
    return located(run, response)
