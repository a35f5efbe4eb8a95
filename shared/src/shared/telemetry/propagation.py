"""How the context of a trace travels: in the W3C headers `traceparent` and `tracestate`, of HTTP and AMQP alike."""

from collections.abc import Mapping, MutableMapping
from random import getrandbits
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR = TraceContextTextMapPropagator()
_HEADERS = ("traceparent", "tracestate")


def inject(headers: MutableMapping[str, Any]) -> None:
    """Add the current context, if there is one."""
    if trace.get_current_span().get_span_context().is_valid:
        _PROPAGATOR.inject(headers)


def headers_of(context: Context) -> dict[str, str]:
    """Return a context as headers; none where it has no ids."""
    headers: dict[str, str] = {}
    if span_context(context).is_valid:
        _PROPAGATOR.inject(headers, context)
    return headers


def extract(headers: Mapping[str, Any]) -> Context | None:
    """Return the context that came with a request or message; None if there is none that can be read."""
    if "traceparent" not in headers:
        return None
    found = {name: value for name in _HEADERS if isinstance(value := headers.get(name), str)}
    context = _PROPAGATOR.extract(found, Context())
    return context if span_context(context).is_valid else None


def span_context(context: Context) -> SpanContext:
    """Return the ids in a context."""
    return trace.get_current_span(context).get_span_context()


def unsampled_context() -> Context:
    """Return a new context of which nobody makes spans: its trace id joins the lines of logs."""
    ids = SpanContext(getrandbits(128) or 1, getrandbits(64) or 1, is_remote=False)
    return trace.set_span_in_context(NonRecordingSpan(ids), Context())
