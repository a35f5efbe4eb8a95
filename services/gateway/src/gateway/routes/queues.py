"""/api/queues, for those who administer: how full the queues are, and what is wrong with them."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path

from gateway.dependencies import Connected, ensure_administers
from gateway.problems import problem_responses
from shared.contracts.queues import QueueDetails, QueuesView

router = APIRouter(
    prefix="/api/queues",
    tags=["queues"],
    dependencies=[Depends(ensure_administers)],
    responses=problem_responses(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
)

QueueName = Annotated[str, Path(alias="name", min_length=1, max_length=255)]


@router.get("", response_model_exclude_none=True)
async def list_queues(connected: Connected) -> QueuesView:
    """Tell of all queues, and of the jobs of each node type: what waits, how long it will take, what is wrong."""
    return await connected.queues.all()


@router.get("/{name}", response_model_exclude_none=True, responses=problem_responses(HTTPStatus.NOT_FOUND))
async def get_queue(name: QueueName, connected: Connected) -> QueueDetails:
    """Tell of one queue, and of the node type whose jobs, or dead letters, it holds."""
    return await connected.queues.one(name)
