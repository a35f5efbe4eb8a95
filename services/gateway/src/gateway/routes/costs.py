"""GET /api/costs, for those who administer: what the models cost is summed up over all owners."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from gateway.dependencies import Connected, ensure_administers
from gateway.problems import problem_responses
from shared.contracts.cursors import Moment
from shared.contracts.queries import CostsBy, CostsReply

router = APIRouter(
    prefix="/api/costs",
    tags=["costs"],
    dependencies=[Depends(ensure_administers)],
    responses=problem_responses(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
)


@router.get("", response_model_exclude_none=True)
async def find_costs(
    connected: Connected,
    by: Annotated[CostsBy, Query(description="what is summed up; days are those of UTC")] = CostsBy.DAY,
    since: Annotated[Moment | None, Query(description="calls begun since, with a time zone; else all")] = None,
) -> CostsReply:
    """Sum up what model calls have cost in US dollars, as far as it is known; `unpriced` counts the others."""
    return await connected.costs.find(by, since)
