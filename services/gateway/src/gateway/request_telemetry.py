"""What is measured and traced of requests.

The spans are made here and not by FastAPI or OpenTelemetry's instrumentation: these tell whole URLs, and the links to
pictures carry a signature in theirs.
"""

import time
from collections.abc import Generator
from contextlib import contextmanager

from opentelemetry.trace import Span, SpanKind
from prometheus_client import CollectorRegistry, Histogram
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.authentication import GUARDED
from shared.telemetry.metrics import OTHER, SECONDS
from shared.telemetry.propagation import extract, unsampled_context
from shared.telemetry.tracing import is_tracing, mark_failed, spanning

UNMATCHED = "unmatched"  # the label of paths that no route has
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_FIRST_SERVER_ERROR = 500


class RequestMetrics:
    """The metrics of requests, by the templates of their routes: paths hold ids, of which there is no end."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "weft_http_request_seconds",
            "Time until the answer to a request began",
            ["method", "route", "status"],
            buckets=SECONDS,
            registry=registry,
        )

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Note the beginning of an answer."""
        self._seconds.labels(_method(scope), _route(scope), str(status)).observe(seconds)


class RequestTelemetry:
    """Measures and traces requests.

    Streams of events last as long as somebody watches: what is measured is the time until they begin.
    """

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started = time.perf_counter()
        with _tracing(scope) as span:

            async def send_observed(message: Message) -> None:
                if message["type"] == "http.response.start":
                    self._metrics.answered(scope, message["status"], time.perf_counter() - started)
                    _tell(span, scope, message["status"])
                await send(message)

            return await self._app(scope, receive, send_observed)


@contextmanager
def _tracing(scope: Scope) -> Generator[Span]:
    """Yield the span of a request. Without tracing it has a trace id all the same, which joins the lines of logs."""
    context = extract(Headers(scope=scope)) if scope["path"].startswith(GUARDED) else unsampled_context()
    if context is None and not is_tracing():
        context = unsampled_context()
    with spanning(_method(scope), kind=SpanKind.SERVER, context=context) as span:
        yield span


def _tell(span: Span, scope: Scope, status: int) -> None:
    if not span.is_recording():
        return
    route = _route(scope)
    span.update_name(f"{_method(scope)} {route}")
    span.set_attributes(
        {"http.request.method": _method(scope), "http.route": route, "http.response.status_code": int(status)}
    )
    if run_id := scope.get("path_params", {}).get("runId"):
        span.set_attribute("weft.run.id", str(run_id))
    if status >= _FIRST_SERVER_ERROR:
        mark_failed(span, str(status))


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else OTHER


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", UNMATCHED)
