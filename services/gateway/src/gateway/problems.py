"""Errors as RFC 9457 problem documents. Neither the input nor a traceback is ever part of one."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from math import ceil
from types import MappingProxyType
from typing import Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from structlog import get_logger

from gateway.run_stream import NothingMoreError
from shared.contracts.base import Contract
from shared.contracts.errors import Problem, UnavailableError, WeftError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2
MAX_PROBLEMS = 100

_INVALID_REQUEST = "invalid_request"
_STATUS_OF_CODE: Mapping[str, HTTPStatus] = MappingProxyType(
    {
        "unauthenticated": HTTPStatus.UNAUTHORIZED,
        "scope_missing": HTTPStatus.FORBIDDEN,
        "link_not_valid": HTTPStatus.FORBIDDEN,
        "budget_exhausted": HTTPStatus.FORBIDDEN,
        "file_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "body_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "start_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "unsupported_format": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "workflow_not_found": HTTPStatus.NOT_FOUND,
        "run_not_found": HTTPStatus.NOT_FOUND,
        "node_not_found": HTTPStatus.NOT_FOUND,
        "key_not_found": HTTPStatus.NOT_FOUND,
        "asset_not_found": HTTPStatus.NOT_FOUND,
        "queue_not_found": HTTPStatus.NOT_FOUND,
        "dead_letter_not_found": HTTPStatus.NOT_FOUND,
        "workflow_conflict": HTTPStatus.CONFLICT,
        "workflow_changed": HTTPStatus.CONFLICT,
        "run_conflict": HTTPStatus.CONFLICT,
        "trigger_conflict": HTTPStatus.CONFLICT,
        "run_finished": HTTPStatus.CONFLICT,
        "run_not_finished": HTTPStatus.CONFLICT,
        "command_not_kept": HTTPStatus.CONFLICT,
        "initial_key": HTTPStatus.CONFLICT,
    }
)
_DESCRIPTIONS: Mapping[HTTPStatus, str] = MappingProxyType(
    {
        HTTPStatus.UNAUTHORIZED: "There is no API key, or none that holds: `unauthenticated`.",
        HTTPStatus.FORBIDDEN: (
            "The key lacks a scope (`scope_missing`), its budget of the day is spent (`budget_exhausted`), or a link"
            " was changed or has expired (`link_not_valid`)."
        ),
        HTTPStatus.NOT_FOUND: (
            "There is no such thing, or it belongs to another owner: `workflow_not_found`, `run_not_found`,"
            " `node_not_found`, `key_not_found`, `asset_not_found`, `queue_not_found`, `dead_letter_not_found`."
        ),
        HTTPStatus.REQUEST_TIMEOUT: "The body did not come in time: `request_timeout`.",
        HTTPStatus.TOO_MANY_REQUESTS: "The key is over a limit: `rate_limited`, `too_many_runs`. Try again later.",
        HTTPStatus.CONFLICT: (
            "The name belongs to something else (`workflow_conflict`, `run_conflict`, `trigger_conflict`), somebody"
            " else made a later version (`workflow_changed`), the run is in no state for this (`run_finished`,"
            " `run_not_finished`, `command_not_kept`), or the key is a setting (`initial_key`)."
        ),
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (
            "The picture, or the body, is over the limit (`file_too_large`, `body_too_large`), or what a run would be"
            " started with is (`start_too_large`)."
        ),
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: "There is no such part of the picture: `range_not_satisfiable`.",
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The content is no accepted picture: `unsupported_format`.",
        HTTPStatus.UNPROCESSABLE_ENTITY: "The input cannot be used; all problems are named at once.",
        HTTPStatus.SERVICE_UNAVAILABLE: "Something that is needed is away; nothing was done. Try again later.",
    }
)

log = get_logger(__name__)


class BodyTooLargeError(HTTPException):
    """A body that is over the limit, in the form in which the framework lets an error through while it reads one."""

    def __init__(self, error: WeftError) -> None:
        super().__init__(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, error.problems[0].message)
        self.problems = error.problems


class LimitedError(WeftError):
    """The caller is over a limit; the same may be allowed after `retry_after` seconds."""

    def __init__(self, *problems: Problem, retry_after: float) -> None:
        super().__init__(*problems)
        self.retry_after = retry_after


class ProblemDetails(Contract):
    """An error. `code` and `detail` are those of the first of `problems`; `code` is stable."""

    type: Literal["about:blank"] = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    problems: tuple[Problem, ...]


def problem_response(
    status: HTTPStatus, problems: Sequence[Problem], headers: Mapping[str, str] | None = None
) -> Response:
    """Return the document for at least one problem; at most `MAX_PROBLEMS` of them are listed."""
    details = ProblemDetails(
        title=status.phrase,
        status=status,
        code=problems[0].code,
        detail=problems[0].message,
        problems=tuple(problems[:MAX_PROBLEMS]),
    )
    return Response(details.to_json(), status, headers, MEDIA_TYPE)


def problem_responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return what a route's documentation says of its errors."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    return {int(status): {"description": _DESCRIPTIONS[status], "content": content} for status in statuses}


def error_response(err: WeftError) -> Response:
    """Return the document for an error."""
    match err:
        case UnavailableError():
            status, headers = HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": str(RETRY_AFTER_SECONDS)}
        case LimitedError(retry_after=seconds):
            status, headers = HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": str(max(1, ceil(seconds)))}
        case _:
            status, headers = _STATUS_OF_CODE.get(err.code, HTTPStatus.UNPROCESSABLE_ENTITY), {}
    if status is HTTPStatus.UNAUTHORIZED:
        headers = {"WWW-Authenticate": "Bearer"}
    return problem_response(status, err.problems, headers)


def answer_with_problems(app: FastAPI) -> None:
    """Make the application answer every error with a problem document."""
    app.add_exception_handler(WeftError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(NothingMoreError, _on_nothing_more)
    app.add_exception_handler(Exception, _on_defect)


async def _on_error(request: Request, err: Exception) -> Response:
    assert isinstance(err, WeftError)
    if isinstance(err, UnavailableError):
        log.warning("unavailable", path=request.url.path, reason=str(err))
    return error_response(err)


async def _on_invalid_request(_: Request, err: Exception) -> Response:
    assert isinstance(err, RequestValidationError)
    problems = [
        Problem(code=_INVALID_REQUEST, message=error["msg"], where=".".join(str(part) for part in error["loc"]))
        for error in err.errors()[:MAX_PROBLEMS]
    ]
    return problem_response(HTTPStatus.UNPROCESSABLE_ENTITY, problems)


async def _on_http_error(_: Request, err: Exception) -> Response:
    """Answer what the framework refuses; a body that it cannot parse is as invalid as one that does not fit."""
    assert isinstance(err, HTTPException)
    status = HTTPStatus(err.status_code)
    if isinstance(err, BodyTooLargeError):
        return problem_response(status, err.problems)
    if status is HTTPStatus.BAD_REQUEST:
        status, code = HTTPStatus.UNPROCESSABLE_ENTITY, _INVALID_REQUEST
    else:
        code = status.phrase.lower().replace(" ", "_")
    return problem_response(status, [Problem(code=code, message=err.detail)], err.headers)


async def _on_nothing_more(_: Request, __: Exception) -> Response:
    """Answer so that a browser's EventSource does not come back once more."""
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def _on_disconnect(_: Request, __: Exception) -> Response:
    problem = Problem(code=_INVALID_REQUEST, message="the connection was closed before the body was complete")
    return problem_response(HTTPStatus.UNPROCESSABLE_ENTITY, [problem])


async def _on_defect(_: Request, __: Exception) -> Response:
    """Answer for a defect of ours; the server logs its traceback."""
    problem = Problem(code="internal_error", message="the gateway met a defect", fix="look at the gateway's log")
    return problem_response(HTTPStatus.INTERNAL_SERVER_ERROR, [problem])
