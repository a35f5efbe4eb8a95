"""What is measured, and that nobody outside can make series without end."""

import asyncio
from datetime import UTC, datetime, timedelta
from unittest.mock import AsyncMock, Mock
from uuid import uuid4

import httpx2
import pytest
from prometheus_client import CollectorRegistry
from tests.unit.gateway_app import bearer, new_dependencies

from gateway.app import create_app
from gateway.request_telemetry import RequestMetrics
from gateway.views import WorkflowList
from llm_worker.domain.breaker import Breaker
from llm_worker.domain.model import ModelError, ModelErrorCode, ModelReply, ModelRequest
from llm_worker.domain.provider import Provider
from llm_worker.telemetry import ModelTelemetry, watch_breakers
from shared.assets import AssetStore
from shared.contracts.commands import RunCancel
from shared.contracts.events import Usage
from shared.messaging.batches import Delivery
from shared.messaging.sending_time import HEADER, in_milliseconds, sent_at
from shared.telemetry.batches import BatchTelemetry, seconds_since_sent
from shared.telemetry.metrics import new_registry


@pytest.fixture
def registry():
    return CollectorRegistry()


def incoming(sent: datetime | None):
    headers = {HEADER: in_milliseconds(sent)} if sent else {}
    return Mock(headers=headers, timestamp=sent and sent.replace(microsecond=0))


async def test_requests_are_counted_by_the_template_of_their_route(tmp_path, registry):
    dependencies = new_dependencies(AssetStore.from_url(tmp_path.as_uri()))
    dependencies.workflows.page = AsyncMock(return_value=WorkflowList(workflows=()))
    app = create_app(dependencies, metrics=RequestMetrics(registry))
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://gateway", headers=bearer("admin")) as client:
        assert (await client.get("/api/workflows")).is_success
        for _ in range(2):
            await client.get(f"/api/workflows/runs/{uuid4()}")
        await client.get("/nowhere")
        await client.request("BREW", "/api/workflows")
    counted = {
        (sample.labels["method"], sample.labels["route"]): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name.endswith("_count")
    }
    assert counted[("GET", "/api/workflows")] == 1, counted
    assert counted[("GET", "/api/workflows/runs/{runId}")] == 2, counted
    assert counted[("GET", "unmatched")] == 1
    assert not {method for method, _ in counted} - {"GET", "other"}


async def test_the_lag_of_a_message_is_known_while_its_batch_is_handled(registry):
    early, late, unknown = (RunCancel(run_id=uuid4()) for _ in range(3))
    now = datetime.now(UTC)
    sent = [(early, now - timedelta(seconds=60)), (late, now), (unknown, None)]
    telemetry = BatchTelemetry[RunCancel]("test", registry)
    with telemetry.handling([Delivery(message, incoming(moment), "queue") for message, moment in sent]):
        assert (seconds_since_sent(early) or 0) >= 59
        lag = seconds_since_sent(late)
        assert lag is not None
        assert lag < 59
        assert seconds_since_sent(unknown) is None
    assert seconds_since_sent(early) is None
    assert registry.get_sample_value("weft_batch_messages_sum", {"consumer": "test"}) == 3
    assert registry.get_sample_value("weft_batch_seconds_count", {"consumer": "test"}) == 1


def test_sending_times_are_read_to_the_millisecond_and_from_those_who_tell_seconds_only():
    moment = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    assert sent_at(incoming(moment)) == moment
    whole = Mock(headers={}, timestamp=moment.replace(microsecond=0))
    assert sent_at(whole) == moment.replace(microsecond=0)
    nonsense = Mock(headers={HEADER: -1}, timestamp=None)
    assert sent_at(nonsense) is None


def model_request(model: str):
    return ModelRequest(model, None, "what is it?", (), max_output_tokens=5)


async def test_calls_of_models_are_counted_with_what_they_cost(registry):
    provider = Provider(name="shop", base_url="https://models.example/v1", models=("known", "new*"))
    telemetry = ModelTelemetry(registry, [provider], default_model="shop/favourite")
    reply = ModelReply(text="a cat", usage=Usage(model="m", input_tokens=7, output_tokens=2, cost=0.25))
    for model in ("known", "favourite", "new-1", "new-2"):
        assert await telemetry.observe(provider, model_request(model), AsyncMock(return_value=reply)) is reply
    error = ModelError(ModelErrorCode.UNAVAILABLE, "away", retryable=True)
    with pytest.raises(ModelError):
        await telemetry.observe(provider, model_request("known"), AsyncMock(side_effect=error))
    with pytest.raises(asyncio.CancelledError):
        await telemetry.observe(provider, model_request("known"), AsyncMock(side_effect=asyncio.CancelledError))

    def value(name, model, **labels):
        return registry.get_sample_value(name, {"provider": "shop", "model": model, **labels})

    assert value("weft_model_tokens_total", "known", direction="input") == 7
    assert value("weft_model_tokens_total", "other", direction="output") == 4
    assert value("weft_model_cost_dollars_total", "favourite") == 0.25
    outcomes = {"succeeded", "llm_unavailable", "cancelled"}
    assert [value("weft_model_seconds_count", "known", outcome=outcome) for outcome in outcomes] == [1, 1, 1]


def test_an_open_circuit_shows(registry):
    now = 0.0
    breaker = Breaker(lambda: now, failures=1)
    watch_breakers([("shop", breaker)], registry)
    assert registry.get_sample_value("weft_model_breaker_open", {"provider": "shop"}) == 0
    breaker.unanswered(breaker.begin())
    assert registry.get_sample_value("weft_model_breaker_open", {"provider": "shop"}) == 1


def test_a_service_says_what_it_is():
    metric = next(metric for metric in new_registry("gateway").collect() if metric.name == "weft_build_info")
    assert metric.samples[0].labels["service"] == "gateway"
    assert metric.samples[0].labels["version"]
