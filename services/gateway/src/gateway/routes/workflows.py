"""/api/workflows: keep workflows, find them, change them, check them."""

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Path, Query, Response
from pydantic import JsonValue

from gateway.dependencies import Connected
from gateway.problems import problem_responses
from gateway.views import (
    GraphToCheck,
    ImportedWorkflow,
    Validation,
    WorkflowDraft,
    WorkflowList,
    WorkflowUpdate,
    WorkflowView,
)
from shared.contracts.cursors import MAX_CURSOR_LENGTH
from shared.contracts.errors import InvalidInputError
from shared.contracts.graph import WorkflowGraph, read_graph
from shared.contracts.history import MAX_PAGE
from shared.contracts.validation import find_problems

UNTITLED = "untitled"
MAX_VERSION = 2**31 - 1

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="how many at most")]
After = Annotated[
    str | None, Query(max_length=MAX_CURSOR_LENGTH, description="the `nextCursor` of the page before, to go on there")
]
WorkflowId = Annotated[UUID, Path(alias="workflowId")]

router = APIRouter(
    prefix="/api/workflows",
    tags=["workflows"],
    responses=problem_responses(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
)
_KEPT: dict[int | str, dict[str, Any]] = {
    **problem_responses(HTTPStatus.CONFLICT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    int(HTTPStatus.OK): {"model": WorkflowView, "description": "It was kept before."},
}


@router.post("", status_code=HTTPStatus.CREATED, response_model_exclude_none=True, responses=_KEPT)
async def create_workflow(draft: WorkflowDraft, connected: Connected, response: Response) -> WorkflowView:
    """Keep a workflow. All that is wrong with it is told at once."""
    graph = _sound(draft.graph)
    name = draft.name or graph.name or UNTITLED
    workflow, is_new = await connected.workflows.add(draft.id or uuid4(), name, graph)
    if not is_new:
        response.status_code = HTTPStatus.OK
    return workflow


@router.post(
    "/import",
    status_code=HTTPStatus.CREATED,
    response_model_exclude_none=True,
    responses=problem_responses(HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
)
async def import_workflow(file: ImportedWorkflow, connected: Connected) -> WorkflowView:
    """Keep what a file holds as a new workflow: one that was exported, or one that the predecessor's canvas saved."""
    graph = _sound(file.model_dump(exclude_unset=True))
    workflow, _ = await connected.workflows.add(uuid4(), graph.name or UNTITLED, graph)
    return workflow


@router.post(
    "/validate",
    response_model_exclude_none=True,
    responses=problem_responses(HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
)
async def validate_workflow(draft: GraphToCheck) -> Validation:
    """Tell everything that is wrong with a graph, and how it would be kept; nothing is."""
    try:
        return Validation(valid=True, graph=_sound(draft.graph))
    except InvalidInputError as err:
        return Validation(valid=False, problems=err.problems)


@router.get("", response_model_exclude_none=True)
async def list_workflows(connected: Connected, limit: Limit = 50, cursor: After = None) -> WorkflowList:
    """List the latest version of each workflow, newest first."""
    return await connected.workflows.page(limit, cursor)


@router.get("/{workflowId}", response_model_exclude_none=True, responses=problem_responses(HTTPStatus.NOT_FOUND))
async def get_workflow(
    workflow_id: WorkflowId,
    connected: Connected,
    version: Annotated[int | None, Query(ge=1, le=MAX_VERSION, description="else the latest one")] = None,
) -> WorkflowView:
    """Return a workflow."""
    return await connected.workflows.get(workflow_id, version)


@router.put(
    "/{workflowId}",
    response_model_exclude_none=True,
    responses=problem_responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
)
async def update_workflow(workflow_id: WorkflowId, update: WorkflowUpdate, connected: Connected) -> WorkflowView:
    """Keep a new version of a workflow. Runs keep the version that they were started with."""
    return await connected.workflows.update(workflow_id, update.name, _sound(update.graph), update.version)


@router.delete("/{workflowId}", status_code=HTTPStatus.NO_CONTENT, responses=problem_responses(HTTPStatus.NOT_FOUND))
async def delete_workflow(workflow_id: WorkflowId, connected: Connected) -> None:
    """Let a workflow be found no more. Its runs stay: they can be read, resumed and replayed."""
    await connected.workflows.delete(workflow_id)


@router.get("/{workflowId}/export", responses=problem_responses(HTTPStatus.NOT_FOUND))
async def export_workflow(workflow_id: WorkflowId, connected: Connected, response: Response) -> dict[str, JsonValue]:
    """Return a workflow as a file holds it, to be imported here or elsewhere, or run by the command line."""
    workflow = await connected.workflows.get(workflow_id)
    response.headers["Content-Disposition"] = f'attachment; filename="{workflow.id}.json"'
    graph = workflow.graph.model_copy(update={"name": workflow.name})
    return graph.model_dump(mode="json", exclude_none=True)


def _sound(raw: dict[str, JsonValue]) -> WorkflowGraph:
    graph = read_graph(raw)
    if problems := find_problems(graph):
        raise InvalidInputError(*problems)
    return graph
