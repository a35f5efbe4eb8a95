"""What is measured and traced of batches, and what is known of the batch in hand by those who handle it.

The latter is kept in the context and not handed over: who decides what follows from a message has no use for it.
"""

import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar, cast

from aio_pika.abc import AbstractIncomingMessage
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind
from prometheus_client import CollectorRegistry, Histogram

from shared.contracts.bundles import Told
from shared.contracts.envelope import Identified, Message
from shared.messaging.sending_time import sent_at
from shared.telemetry.metrics import SECONDS
from shared.telemetry.names import SYSTEM, attributes_of, delivery_attributes
from shared.telemetry.propagation import extract, span_context
from shared.telemetry.tracing import TRACER, is_tracing, spanning

M_co = TypeVar("M_co", bound=Identified, covariant=True)

_SIZES = (1, 2, 5, 10, 20, 50, 100, 200)


class Delivered(Protocol[M_co]):
    """A decoded message, and how it came."""

    @property
    def content(self) -> M_co:
        """The message."""
        ...

    @property
    def incoming(self) -> AbstractIncomingMessage:
        """Its delivery."""
        ...

    @property
    def queue(self) -> str:
        """The queue that it was in."""
        ...


@dataclass(frozen=True, slots=True)
class _Batch:
    """The batch in hand: by message id when its messages were sent, and in which contexts what follows is sent."""

    sent: dict[str, datetime] = field(default_factory=dict[str, datetime])
    contexts: dict[str, Context] = field(default_factory=dict[str, Context])


_NO_BATCH = _Batch()
_current: ContextVar[_Batch] = ContextVar("batch")


def seconds_since_sent(message: Message) -> float | None:
    """Return how long ago a message of the batch in hand was sent; None where that is not known."""
    sent = _current.get(_NO_BATCH).sent.get(message.message_id)
    return None if sent is None else max(0.0, (datetime.now(UTC) - sent).total_seconds())


def follow(cause: Message, following: Iterable[Message]) -> None:
    """Note that messages follow from one of the batch in hand: they are sent in its context."""
    contexts = _current.get(_NO_BATCH).contexts
    if contexts and (context := contexts.get(cause.message_id)):
        for message in following:
            contexts.setdefault(message.message_id, context)


def context_of(message: Identified) -> Context | None:
    """Return the context of the message that this one follows from; None, for the current one, if there is none."""
    contexts = _current.get(_NO_BATCH).contexts
    return contexts.get(message.message_id) if contexts else None


class BatchTelemetry(Generic[M_co]):
    """Measures and traces the batches of a consumer.

    A batch is a trace of its own, with links to where its messages come from. If other messages follow from these
    (`is_source`), each has a span besides, in its own trace, so that this is whole.
    """

    def __init__(self, consumer: str, registry: CollectorRegistry | None, *, is_source: bool = False) -> None:
        sizes = Histogram("weft_batch_messages", "Messages per batch", ["consumer"], buckets=_SIZES, registry=registry)
        seconds = Histogram(
            "weft_batch_seconds", "Time to handle a batch", ["consumer"], buckets=SECONDS, registry=registry
        )
        self._sizes, self._seconds = sizes.labels(consumer), seconds.labels(consumer)
        self._consumer, self._is_source = consumer, is_source

    @contextmanager
    def handling(self, deliveries: Sequence[Delivered[M_co]]) -> Generator[None]:
        """Measure the handling of a batch, during which it is the one in hand."""
        started = time.perf_counter()
        batch = _batch(deliveries)
        self._sizes.observe(sum(len(_messages(delivery)) for delivery in deliveries))
        token = _current.set(batch)
        try:
            with self._tracing(deliveries, batch):
                yield
        finally:
            _current.reset(token)
            self._seconds.observe(time.perf_counter() - started)

    @contextmanager
    def _tracing(self, deliveries: Sequence[Delivered[M_co]], batch: _Batch) -> Generator[None]:
        if not is_tracing():
            yield
            return
        links = [Link(span_context(context)) for context in batch.contexts.values()]
        attributes = {**SYSTEM, "messaging.operation.name": "process", "messaging.batch.message_count": len(deliveries)}
        name = f"batch {self._consumer}"
        with spanning(name, kind=SpanKind.CONSUMER, context=Context(), attributes=attributes, links=links) as span:
            spans = list(_spans(deliveries, batch, span)) if self._is_source else []
            try:
                yield
            finally:
                for one in spans:
                    one.end()


def _told(delivery: Delivered[Identified]) -> Told[Message] | None:
    """Return what a delivery tells, if it may be more than one message."""
    content: object = delivery.content
    return cast("Told[Message]", content) if isinstance(content, Told) else None


def _messages(delivery: Delivered[Identified]) -> Sequence[Identified]:
    """Return the messages that came in a delivery."""
    told = _told(delivery)
    return told.messages if told else (delivery.content,)


def _batch(deliveries: Sequence[Delivered[Identified]]) -> _Batch:
    batch = _Batch()
    for delivery in deliveries:
        moment, headers = sent_at(delivery.incoming), delivery.incoming.headers
        told = _told(delivery)
        traces: Mapping[str, Mapping[str, Any]] = told.traces if told else {}
        for message_id in (message.message_id for message in _messages(delivery)):
            if moment:
                batch.sent[message_id] = moment
            if context := extract(traces.get(message_id, headers)):
                batch.contexts[message_id] = context
    return batch


def _spans(deliveries: Iterable[Delivered[Identified]], batch: _Batch, of_batch: Span) -> Iterator[Span]:
    """Begin and yield the spans of the messages of a batch; what follows from each is sent in its context."""
    for delivery in deliveries:
        about_delivery = delivery_attributes(delivery.incoming, delivery.queue)
        for message in _messages(delivery):
            span = TRACER.start_span(
                f"process {delivery.queue}",
                batch.contexts.get(message.message_id, Context()),
                SpanKind.CONSUMER,
                {**about_delivery, **attributes_of(message)},
                [Link(of_batch.get_span_context())],
            )
            batch.contexts[message.message_id] = trace.set_span_in_context(span, Context())
            yield span
