"""The HTTP application. It can be built without connections, for its documentation."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from gateway.body_limit import BodyLimit
from gateway.dependencies import Dependencies
from gateway.problems import ProblemDetails, answer_with_problems
from gateway.routes import control, costs, node_types, runs, uploads, workflows

_DESCRIPTION = (
    "Upload pictures, keep workflows, run them and watch the runs. "
    "Errors are RFC 9457 problem documents with a stable `code`; all problems of an input are told at once."
)


class Gateway(FastAPI):
    """FastAPI, whose document also describes the problem documents."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        document = super().openapi()
        problem = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = document["components"]["schemas"]
        for name, schema in {**problem.pop("$defs"), ProblemDetails.__name__: problem}.items():
            schemas.setdefault(name, schema)
        return document


def create_app(dependencies: Dependencies, health: Sequence[BaseRoute] = ()) -> FastAPI:
    """Return the application, ready to answer."""
    app = _build()
    app.state.dependencies = dependencies
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
    )
    app.add_middleware(BodyLimit)
    answer_with_problems(app)
    # `runs` before `workflows`: else `/api/workflows/runs` would be read as the workflow with the id "runs".
    for module in (uploads, runs, control, workflows, node_types, costs):
        app.include_router(module.router)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
