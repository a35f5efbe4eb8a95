"""What is measured of batches, and what is known of the batch in hand by those who handle it.

The latter is kept in the context and not handed over: who decides what follows from a message has no use for it.
"""

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, Protocol, TypeVar

from aio_pika.abc import AbstractIncomingMessage
from prometheus_client import CollectorRegistry, Histogram

from shared.contracts.envelope import Message
from shared.messaging.sending_time import sent_at
from shared.telemetry.metrics import SECONDS

M_co = TypeVar("M_co", bound=Message, covariant=True)

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


@dataclass(frozen=True, slots=True)
class _Batch:
    sent: Mapping[str, datetime] = field(default_factory=dict[str, datetime])  # by message id


_NO_BATCH = _Batch()
_current: ContextVar[_Batch] = ContextVar("batch")


def seconds_since_sent(message: Message) -> float | None:
    """Return how long ago a message of the batch in hand was sent; None where that is not known."""
    sent = _current.get(_NO_BATCH).sent.get(message.message_id)
    return None if sent is None else max(0.0, (datetime.now(UTC) - sent).total_seconds())


class BatchTelemetry(Generic[M_co]):
    """Measures the batches of a consumer."""

    def __init__(self, consumer: str, registry: CollectorRegistry) -> None:
        sizes = Histogram("weft_batch_messages", "Messages per batch", ["consumer"], buckets=_SIZES, registry=registry)
        seconds = Histogram(
            "weft_batch_seconds", "Time to handle a batch", ["consumer"], buckets=SECONDS, registry=registry
        )
        self._sizes, self._seconds = sizes.labels(consumer), seconds.labels(consumer)

    @contextmanager
    def handling(self, deliveries: Sequence[Delivered[M_co]]) -> Generator[None]:
        """Measure the handling of a batch, during which it is the one in hand."""
        self._sizes.observe(len(deliveries))
        started = time.perf_counter()
        token = _current.set(_batch(deliveries))
        try:
            yield
        finally:
            _current.reset(token)
            self._seconds.observe(time.perf_counter() - started)


def _batch(deliveries: Sequence[Delivered[Message]]) -> _Batch:
    sent = {delivery.content.message_id: sent_at(delivery.incoming) for delivery in deliveries}
    return _Batch({message_id: moment for message_id, moment in sent.items() if moment})
