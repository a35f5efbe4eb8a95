"""The spans of messages that are published, and of those that are taken one by one."""

from contextlib import AbstractContextManager

from aio_pika.abc import AbstractIncomingMessage
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind
from structlog.contextvars import bind_contextvars

from shared.contracts.bundles import Publishable
from shared.contracts.envelope import NodeMessage
from shared.telemetry.batches import context_of
from shared.telemetry.names import attributes_of, delivery_attributes, destination
from shared.telemetry.propagation import extract
from shared.telemetry.tracing import TRACER, attached, is_tracing, spanning
from shared.topology import QUERIES


def publishing(message: Publishable, exchange: str, routing_key: str) -> AbstractContextManager[object]:
    """Return the span of a publication; its parent is what the message follows from.

    That of a bundle is in the trace of those who tell the events together.
    """
    if not is_tracing():
        return attached(context_of(message))
    attributes = {**destination(f"{exchange}:{routing_key}", "publish"), **attributes_of(message)}
    attributes["messaging.message.id"] = message.message_id
    name = f"publish {exchange}:{routing_key}"
    return spanning(name, kind=SpanKind.PRODUCER, context=context_of(message), attributes=attributes)


def asking(queue: str) -> AbstractContextManager[Span]:
    """Return the span of a question, from its sending to its reply."""
    name = f"{QUERIES}:{queue}"
    return spanning(f"ask {queue}", kind=SpanKind.CLIENT, attributes=destination(name, "ask"))


def taken(incoming: AbstractIncomingMessage, queue: str) -> Span:
    """Return the span of the handling of a message, to be ended with it; its parent is who sent the message."""
    context = extract(incoming.headers)
    if not is_tracing():
        return trace.get_current_span(context) if context else trace.INVALID_SPAN
    return TRACER.start_span(
        f"process {queue}", context or Context(), SpanKind.CONSUMER, delivery_attributes(incoming, queue)
    )


def work_on(message: NodeMessage) -> None:
    """Have the current span, and all lines that this task logs from now on, name the node that is worked on."""
    bind_contextvars(run_id=str(message.run_id), node_id=message.node_id)
    trace.get_current_span().set_attributes(attributes_of(message))
