"""What is measured of requests."""

import time

from prometheus_client import CollectorRegistry, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.telemetry.metrics import OTHER, SECONDS

UNMATCHED = "unmatched"  # the label of paths that no route has
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


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
        method = scope["method"] if scope["method"] in _METHODS else OTHER
        self._seconds.labels(method, route_of(scope), str(status)).observe(seconds)


class RequestTelemetry:
    """Measures requests. Streams of events last as long as somebody watches: so it is the time until they begin."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started = time.perf_counter()

        async def send_measured(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.answered(scope, message["status"], time.perf_counter() - started)
            await send(message)

        return await self._app(scope, receive, send_measured)


def route_of(scope: Scope) -> str:
    """Return the template of the route that a request was given to; `UNMATCHED` if to none."""
    return getattr(scope.get("route"), "path", UNMATCHED)
