"""Errors in the shape that OpenAI gives them."""

from http import HTTPStatus

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

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
    headers = None if retry_after is None else {"Retry-After": str(retry_after)}
    return JSONResponse({"error": error}, status_code=status, headers=headers)


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
