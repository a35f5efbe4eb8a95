"""What is measured of calls of models: the one module that knows the `gen_ai` names of OpenTelemetry.

Neither questions nor answers are in it, only how long they took and what they cost.
"""

import time
from collections.abc import Awaitable, Callable, Iterable

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from llm_worker.domain.breaker import Breaker
from llm_worker.domain.model import ModelError, ModelReply, ModelRequest
from llm_worker.domain.provider import WILDCARD, Provider
from shared.contracts.events import Usage
from shared.telemetry.metrics import OTHER, SECONDS
from shared.telemetry.tracing import spanning

_MODEL = ("provider", "model")


class ModelTelemetry:
    """Measures calls. Models are told apart that the configuration names in full; all others are `other`."""

    def __init__(
        self, registry: CollectorRegistry | None, providers: Iterable[Provider], *, default_model: str
    ) -> None:
        names = {model for provider in providers for model in provider.models if not model.endswith(WILDCARD)}
        self._known = {*names, default_model, default_model.partition("/")[2]}
        self._seconds = Histogram(
            "weft_model_seconds", "Time of a call", [*_MODEL, "outcome"], buckets=SECONDS, registry=registry
        )
        self._tokens = Counter("weft_model_tokens", "Tokens that calls took", [*_MODEL, "direction"], registry=registry)
        self._cost = Counter("weft_model_cost_dollars", "What calls cost, where it is known", _MODEL, registry=registry)

    async def observe(
        self, provider: Provider, request: ModelRequest, ask: Callable[[], Awaitable[ModelReply]]
    ) -> ModelReply:
        """Return what `ask` does, or raise so, having measured it."""
        labels = provider.name, request.model if request.model in self._known else OTHER
        outcome, usage, started = "cancelled", None, time.perf_counter()
        try:
            with spanning(f"chat {labels[1]}", kind=SpanKind.CLIENT, attributes=_asked(provider, request)) as span:
                reply = await ask()
                span.set_attributes(_answered(reply))
            outcome, usage = "succeeded", reply.usage
        except ModelError as err:
            outcome, usage = err.code.value, err.usage
            raise
        finally:
            self._seconds.labels(*labels, outcome).observe(time.perf_counter() - started)
            self._count(labels, usage)
        return reply

    def _count(self, labels: tuple[str, str], usage: Usage | None) -> None:
        if usage is None:
            return
        self._tokens.labels(*labels, "input").inc(usage.input_tokens or 0)
        self._tokens.labels(*labels, "output").inc(usage.output_tokens or 0)
        self._cost.labels(*labels).inc(usage.cost or 0)


def _asked(provider: Provider, request: ModelRequest) -> dict[str, AttributeValue]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider.name,
        "gen_ai.request.model": request.model,
        "gen_ai.request.max_tokens": request.max_output_tokens,
    }


def _answered(reply: ModelReply) -> dict[str, AttributeValue]:
    told = {
        "gen_ai.response.model": reply.usage.model,
        "gen_ai.response.id": reply.response_id,
        "gen_ai.response.finish_reasons": reply.finish_reason and (reply.finish_reason,),
        "gen_ai.usage.input_tokens": reply.usage.input_tokens,
        "gen_ai.usage.output_tokens": reply.usage.output_tokens,
    }
    return {name: value for name, value in told.items() if value is not None}


def watch_breakers(breakers: Iterable[tuple[str, Breaker]], registry: CollectorRegistry | None) -> None:
    """Have the metrics say of which providers, by name, the circuit is open."""
    is_open = Gauge("weft_model_breaker_open", "1 while a provider is left alone", ["provider"], registry=registry)
    for name, breaker in breakers:
        is_open.labels(name).set_function(lambda breaker=breaker: float(breaker.is_open))
