"""Errors in the shapes that providers give them."""

from http import HTTPStatus
from typing import Any

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from llm_worker.offline_model.behaviours import Fail
from shared.contracts.errors import InvalidInputError

_TYPES: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
}


def error_response(
    status: int,
    message: str,
    *,
    param: str | None = None,
    code: str | None = None,
    retry_after: int | None = None,
) -> JSONResponse:
    """Return `{"error": {message, type, param, code}}`; `retry_after` (seconds) becomes a header."""
    error = {"message": message, "type": _type_of(status), "param": param, "code": code}
    return JSONResponse({"error": error}, status_code=status, headers=_headers(retry_after))


def failure_response(failure: Fail) -> JSONResponse:
    """Return the error that the stand-in was told to answer with, in the shape and at the place told."""
    status = failure.status if failure.place == "status" else HTTPStatus.OK
    return JSONResponse(failure_body(failure), status_code=status, headers=_headers(failure.retry_after))


def failure_body(failure: Fail) -> Any:
    """Return the body of an error: one that is not told by the status tells it as its code, as OpenRouter's do."""
    if failure.shape == "gemini":
        error = {"code": failure.status, "message": failure.message, "status": failure.code or "UNAVAILABLE"}
        return [{"error": error}]
    if failure.place != "status":
        return {"error": {"code": failure.code or failure.status, "message": failure.message}}
    error = {"message": failure.message, "type": _type_of(failure.status), "param": None, "code": failure.code}
    return {"error": error}


def _headers(retry_after: int | None) -> dict[str, str] | None:
    return None if retry_after is None else {"Retry-After": str(retry_after)}


def render_error(_request: Request, error: Exception) -> JSONResponse:
    """Turn what a request did wrong into a response; anything else is a fault of this server, raised."""
    match error:
        case ValidationError():
            return _validation_response(error)
        case InvalidInputError():
            problem = error.problems[0]
            missing = problem.code == "model_not_found"
            status = HTTPStatus.NOT_FOUND if missing else HTTPStatus.BAD_REQUEST
            return error_response(status, str(problem), param=problem.where, code=problem.code)
        case HTTPException():
            return error_response(error.status_code, error.detail)
        case _:
            raise error


def _validation_response(error: ValidationError) -> JSONResponse:
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    param = ".".join(str(step) for step in first["loc"]) or None
    message = f"{param}: {first['msg']}" if param else first["msg"]
    code = "invalid_json" if first["type"] == "json_invalid" else None
    return error_response(HTTPStatus.BAD_REQUEST, message, param=param, code=code)


def _type_of(status: int) -> str:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "server_error"
    return _TYPES.get(status, "invalid_request_error")
