"""What the routes that start runs have in common."""

from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import Header, Query, Response

from gateway.dependencies import Dependencies
from gateway.views import MAX_TRIGGER_LENGTH, StartRequest
from gateway.waiting import MAX_WAIT, wait_for_end
from shared.contracts.errors import invalid
from shared.contracts.queries import RunView
from shared.contracts.states import FINAL_RUN_STATUSES

START_ERRORS = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

ENDED: dict[int | str, dict[str, Any]] = {
    int(HTTPStatus.OK): {"model": RunView, "description": "The run ended while it was waited for."}
}

R = TypeVar("R", bound=StartRequest)

IdempotencyKey = Annotated[
    str | None, Header(min_length=1, max_length=MAX_TRIGGER_LENGTH, description="another place for `triggerRunId`")
]

Wait = Annotated[
    float,
    Query(ge=0, le=MAX_WAIT, description="seconds to wait for the end: 200 if it came, 202 if it is still to come"),
]


def with_key(request: R, key: str | None) -> R:
    """Return the request with the header's key as its `triggerRunId`; raise `invalid_request` if it has another one."""
    if key is None or key == request.trigger_run_id:
        return request
    if request.trigger_run_id is not None:
        raise invalid(
            "invalid_request",
            "the header Idempotency-Key and triggerRunId differ, and mean the same",
            where="header.idempotency-key",
            fix="send one of them",
        )
    return request.model_copy(update={"trigger_run_id": key})


async def concluded(run: RunView, connected: Dependencies, response: Response, wait: float) -> RunView:
    """Return the run as it was accepted, or as it is after waiting for its end; the response says where it is."""
    response.headers["Location"] = f"/api/workflows/runs/{run.run_id}"
    if not wait:
        return run
    run = await wait_for_end(run, connected.runs, connected.live, wait)
    response.status_code = HTTPStatus.OK if run.status in FINAL_RUN_STATUSES else HTTPStatus.ACCEPTED
    return run
