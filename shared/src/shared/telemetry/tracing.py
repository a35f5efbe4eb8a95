"""Traces: whether there are any, where they go, and how a span is made.

Without an address to export to no span is made, and the context of others (W3C `traceparent`) is handed on as it came.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from shared.settings import Settings

MAX_LINKS = 500  # more than a batch has messages
EXPORT_TIMEOUT = 5.0  # seconds; also what the end of a process may wait for a collector that is away

TRACER = trace.get_tracer("weft")


class _Process:
    """Whether this process makes spans: noted, since the library looks into the environment whenever it is asked."""

    is_tracing = False


def is_tracing() -> bool:
    """Tell whether spans are made."""
    return _Process.is_tracing


@contextmanager
def exporting(service: str, settings: Settings) -> Generator[None]:
    """Have the spans of this process exported by OTLP over HTTP, if it is set where to; on leaving, the last ones."""
    if settings.otlp_url is None:
        yield
        return
    # Its libraries take a while to import, and are not needed where nothing is exported.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    endpoint = f"{settings.otlp_url.rstrip('/')}/v1/traces"
    provider = new_provider(service, ratio=settings.trace_ratio)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint, timeout=EXPORT_TIMEOUT)))
    trace.set_tracer_provider(provider)
    _Process.is_tracing = True
    try:
        yield
    finally:
        provider.shutdown()


def new_provider(service: str, *, ratio: float = 1.0):  # noqa: ANN201 - its type is in what is imported late
    """Return what makes spans: of the traces that begin here a share, of those of others what they have decided."""
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio  # noqa: PLC0415

    return TracerProvider(
        sampler=ParentBasedTraceIdRatio(ratio),
        resource=Resource.create({SERVICE_NAME: f"weft-{service}"}),
        span_limits=SpanLimits(max_links=MAX_LINKS),
        shutdown_on_exit=False,
    )


@contextmanager
def spanning(
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    context: Context | None = None,
    attributes: Mapping[str, AttributeValue] | None = None,
    links: Sequence[Link] = (),
) -> Generator[Span]:
    """Yield a span that is the current one; without tracing, only `context` becomes current.

    Of an exception its kind is told and nothing else: its words may be those of a prompt.
    """
    if not is_tracing():
        with attached(context):
            yield trace.INVALID_SPAN
        return
    span = TRACER.start_span(name, context, kind, attributes, links, record_exception=False)
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield span
        except BaseException as err:
            mark_failed(span, type(err).__name__)
            raise


def mark_failed(span: Span, error_type: str) -> None:
    """Say of a span that what it measures failed, and with which code or kind of error."""
    span.set_attribute("error.type", error_type)
    span.set_status(Status(StatusCode.ERROR))


def attached(context: Context | None) -> AbstractContextManager[None]:
    """Have a context be the current one; None leaves it as it is."""
    return _AS_IT_IS if context is None else _Attached(context)


class _Attached:
    """A class, since it is entered for each message, and what `contextmanager` makes is three times as slow."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __enter__(self) -> None:
        self._token = contexts.attach(self._context)

    def __exit__(self, *_: object) -> None:
        contexts.detach(self._token)


_AS_IT_IS = nullcontext()
