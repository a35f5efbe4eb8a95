"""Errors as RFC 9457 problem documents. Neither the input nor a traceback is ever part of one."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from structlog import get_logger

from gateway.run_stream import NothingMoreError
from shared.contracts.base import Contract
from shared.contracts.errors import InvalidInputError, Problem, UnavailableError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2
MAX_PROBLEMS = 100

_INVALID_REQUEST = "invalid_request"
_STATUS_OF_CODE: Mapping[str, HTTPStatus] = MappingProxyType(
    {
        "file_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "start_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "unsupported_format": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "workflow_not_found": HTTPStatus.NOT_FOUND,
        "run_not_found": HTTPStatus.NOT_FOUND,
        "node_not_found": HTTPStatus.NOT_FOUND,
        "workflow_conflict": HTTPStatus.CONFLICT,
        "workflow_changed": HTTPStatus.CONFLICT,
        "run_conflict": HTTPStatus.CONFLICT,
        "trigger_conflict": HTTPStatus.CONFLICT,
        "run_finished": HTTPStatus.CONFLICT,
        "run_not_finished": HTTPStatus.CONFLICT,
        "command_not_kept": HTTPStatus.CONFLICT,
    }
)
_DESCRIPTIONS: Mapping[HTTPStatus, str] = MappingProxyType(
    {
        HTTPStatus.NOT_FOUND: "There is no such thing: `workflow_not_found`, `run_not_found`, `node_not_found`.",
        HTTPStatus.CONFLICT: (
            "The name belongs to something else (`workflow_conflict`, `run_conflict`, `trigger_conflict`), somebody"
            " else made a later version (`workflow_changed`), or the run is in no state for this (`run_finished`,"
            " `run_not_finished`, `command_not_kept`)."
        ),
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (
            "The body is over the limit (`file_too_large`), or what a run would be started with is (`start_too_large`)."
        ),
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The content is no accepted picture: `unsupported_format`.",
        HTTPStatus.UNPROCESSABLE_ENTITY: "The input cannot be used; all problems are named at once.",
        HTTPStatus.SERVICE_UNAVAILABLE: "Something that is needed is away; nothing was done. Try again later.",
    }
)

log = get_logger(__name__)


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
    # Else the server would go on to receive a body that is over the limit, however long.
    close = {"Connection": "close"} if status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE else {}
    return Response(details.to_json(), status, {**(headers or {}), **close}, MEDIA_TYPE)


def problem_responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return what a route's documentation says of its errors."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    return {int(status): {"description": _DESCRIPTIONS[status], "content": content} for status in statuses}


def answer_with_problems(app: FastAPI) -> None:
    """Make the application answer every error with a problem document."""
    app.add_exception_handler(InvalidInputError, _on_invalid_input)
    app.add_exception_handler(UnavailableError, _on_unavailable)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(NothingMoreError, _on_nothing_more)
    app.add_exception_handler(Exception, _on_defect)


async def _on_invalid_input(_: Request, err: Exception) -> Response:
    assert isinstance(err, InvalidInputError)
    return problem_response(_STATUS_OF_CODE.get(err.code, HTTPStatus.UNPROCESSABLE_ENTITY), err.problems)


async def _on_unavailable(request: Request, err: Exception) -> Response:
    assert isinstance(err, UnavailableError)
    log.warning("unavailable", path=request.url.path, reason=str(err))
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return problem_response(HTTPStatus.SERVICE_UNAVAILABLE, err.problems, headers)


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
    if status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        code = "file_too_large"
    elif status is HTTPStatus.BAD_REQUEST:
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
