"""What the routes that start runs have in common."""

from http import HTTPStatus
from typing import Annotated, TypeVar

from fastapi import Header, Response

from gateway.views import MAX_TRIGGER_LENGTH, StartRequest
from shared.contracts.errors import invalid
from shared.contracts.queries import RunView

START_ERRORS = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

R = TypeVar("R", bound=StartRequest)

IdempotencyKey = Annotated[
    str | None, Header(min_length=1, max_length=MAX_TRIGGER_LENGTH, description="another place for `triggerRunId`")
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


def located(run: RunView, response: Response) -> RunView:
    """Return the run, and say in the response where it is found."""
    response.headers["Location"] = f"/api/workflows/runs/{run.run_id}"
    return run
