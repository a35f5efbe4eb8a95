"""The HTTP application. It can be built without connections, for its documentation."""

from collections.abc import Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from gateway.authentication import GUARDED, Authentication
from gateway.body_limit import BodyLimit
from gateway.dependencies import Dependencies
from gateway.problems import ProblemDetails, answer_with_problems, problem_responses
from gateway.request_telemetry import RequestMetrics, RequestTelemetry
from gateway.routes import (
    assets,
    control,
    costs,
    dead_letters,
    execution,
    history,
    keys,
    live,
    node_types,
    queues,
    runs,
    uploads,
    workflows,
)
from gateway.security_headers import SecurityHeaders

_DESCRIPTION = (
    "Upload pictures, keep workflows, run them and watch the runs. "
    "Errors are RFC 9457 problem documents with a stable `code`; all problems of an input are told at once."
)


_ABOUT_BODY = problem_responses(
    HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY
)


_OPERATING = (costs, keys, queues, dead_letters)  # for those who administer


class Gateway(FastAPI):
    """FastAPI, whose document also describes the problem documents, and whose every answer has security headers."""

    def build_middleware_stack(self) -> ASGIApp:
        """Return the application with all that is around it.

        Outermost is what is to see each answer: also those to defects, and those that the other layers give themselves.
        """
        return SecurityHeaders(RequestTelemetry(super().build_middleware_stack(), self.state.metrics))

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        document = super().openapi()
        problem = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = document["components"]["schemas"]
        for name, schema in {**problem.pop("$defs"), ProblemDetails.__name__: problem}.items():
            schemas.setdefault(name, schema)
        _describe_authentication(document)
        return document


def create_app(
    dependencies: Dependencies,
    health: Sequence[BaseRoute] = (),
    *,
    cors_origins: Sequence[str] = (),
    metrics: RequestMetrics | None = None,
) -> FastAPI:
    """Return the application, ready to answer; pages of these web origins may call it from browsers."""
    app = _build()
    if cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=cors_origins,
            allow_methods=["*"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID"],
            expose_headers=["Location", "Retry-After"],
        )
    app.state.dependencies = dependencies
    app.state.metrics = metrics or RequestMetrics(CollectorRegistry())
    app.router.routes.extend(health)
    return app


def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI document; needs no connection."""
    return _build().openapi()


def _build() -> Gateway:
    app = Gateway(
        title="Weft",
        description=_DESCRIPTION,
        version=version("weft-gateway"),
        generate_unique_id_function=_operation_id,
        telemetry={"tracing": False},  # gateway.request_telemetry says why
    )
    app.add_middleware(Authentication)
    app.add_middleware(BodyLimit)
    answer_with_problems(app)
    # A caller's name for a run may hold slashes, and look like another route of runs: so `history` is before `runs`.
    # `runs` before `workflows`: else `/api/workflows/runs` would be read as the workflow with the id "runs".
    for module in (uploads, assets, history, runs, control, live, workflows, execution, node_types, *_OPERATING):
        app.include_router(module.router)
    return app


def _describe_authentication(document: dict[str, Any]) -> None:
    """Add the key, and what comes of a wrong one, to all that is behind the gate."""
    scheme = {"type": "http", "scheme": "bearer", "description": "an API key: see `weft keys create`"}
    document["components"]["securitySchemes"] = {"apiKey": scheme}
    answers = problem_responses(
        HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE
    )
    for path, operations in document["paths"].items():
        for operation in operations.values() if path.startswith(GUARDED) else ():
            operation["security"] = [{"apiKey": []}]
            about_body = _ABOUT_BODY if "requestBody" in operation else {}
            for status, answer in {**answers, **about_body}.items():
                operation["responses"].setdefault(str(status), answer)


def _operation_id(route: APIRoute) -> str:
    return route.name
