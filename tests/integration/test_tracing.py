"""The traces of runs, over real servers: whole trees, and links where batches join them."""

import asyncio
from contextlib import asynccontextmanager

import httpx2
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from tests.e2e.system import EXAMPLES
from tests.integration.test_offline_model import running

from crop_worker.main import create_service as crop_worker
from gateway.main import create_service as gateway
from llm_worker.main import create_service as llm_worker
from orchestrator.main import create_service as orchestrator
from run_tracker.main import create_service as run_tracker
from shared.telemetry.tracing import _Process, new_provider

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
GRAPH = {
    "nodes": [
        {"id": "photo", "type": "upload_image", "params": {}},
        {"id": "crop", "type": "crop_image", "params": {"width": 50, "height": 50}},
        {"id": "ask", "type": "llm", "params": {"userMessage": "a secret question"}},
    ],
    "edges": [
        {"id": "1", "source": "photo", "sourceHandle": "output", "target": "crop", "targetHandle": "image"},
        {"id": "2", "source": "crop", "sourceHandle": "output", "target": "ask", "targetHandle": "images"},
    ],
}


@pytest.fixture(scope="module")
def exporter():
    return InMemorySpanExporter()


@pytest.fixture(scope="module")
def provider(exporter):
    """One for all tests of the module: a tracer stays with the provider that it was made by."""
    provider = new_provider("test")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


@pytest.fixture
def spans(exporter, provider, monkeypatch):
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    monkeypatch.setattr(_Process, "is_tracing", True)
    exporter.clear()
    return exporter.get_finished_spans


@asynccontextmanager
async def system(stack):
    async with (
        running() as (_, base_url),
        orchestrator(stack) as deciding,
        run_tracker(stack),
        crop_worker(stack),
        llm_worker(stack.model_copy(update={"llm_base_url": base_url})),
        gateway(stack) as service,
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(service.http),
            base_url="http://gateway",
            headers={"Authorization": f"Bearer {stack.api_key.get_secret_value()}"},
            timeout=60,
        ) as client,
    ):
        timers = [asyncio.ensure_future(start()) for start in deciding.background]
        yield client
        for task in timers:
            task.cancel()
        await asyncio.gather(*timers, return_exceptions=True)


async def run_to_its_end(client, **headers):
    photo = (EXAMPLES / "photo.jpg").read_bytes()
    asset = (await client.post("/api/uploads", files={"file": ("photo.jpg", photo)})).json()["asset"]
    draft = {"graph": GRAPH, "inputs": {"photo": {"type": "image", "asset": asset}}}
    workflow = (await client.post("/api/workflows", json={"graph": GRAPH})).json()
    body = {"inputs": draft["inputs"], "options": {"useCache": False}}
    started = await client.post(f"/api/workflows/{workflow['id']}/execute?wait=30", json=body, headers=headers)
    assert started.is_success, started.text
    return started.json()


async def test_the_trace_of_a_run_is_whole(stack, empty_queues, empty_tables, spans):
    async with system(stack) as client:
        run = await run_to_its_end(client, traceparent=PARENT)
    assert run["status"] == "completed", run
    everything = spans()
    own = [span for span in everything if f"{span.context.trace_id:032x}" == PARENT.split("-")[1]]
    by_id = {span.context.span_id: span for span in own}
    roots = [span for span in own if span.parent.span_id not in by_id]
    assert [span.name for span in roots] == ["POST /api/workflows/{workflowId}/execute"]
    assert f"{roots[0].parent.span_id:016x}" == PARENT.split("-")[2]

    def ancestors(span):
        while (span := by_id.get(span.parent.span_id)) is not None:
            yield span.name

    chat = next(span for span in own if span.name.startswith("chat "))
    assert list(ancestors(chat)) == [
        "process jobs.llm",
        "publish weft.jobs:llm",
        "process orchestrator.results",
        "publish weft.results:node.succeeded.crop_image",
        "process jobs.crop_image",
        "publish weft.jobs:crop_image",
        "process orchestrator.commands",
        "publish weft.runs:run.start",
        "POST /api/workflows/{workflowId}/execute",
    ]
    assert chat.attributes["gen_ai.usage.output_tokens"] > 0
    decode = next(span for span in own if span.name == "decode" and "process jobs.crop_image" in ancestors(span))
    assert decode.attributes["process.pid"] > 0
    job = next(span for span in own if span.name == "process jobs.llm")
    assert job.kind is SpanKind.CONSUMER
    assert {name: job.attributes[name] for name in job.attributes if name.startswith("weft.")} == {
        "weft.run.id": run["runId"],
        "weft.node.id": "ask",
        "weft.node.type": "llm",
        "weft.node.attempt": 1,
    }
    assert job.attributes["messaging.destination.name"] == "weft.jobs:llm:jobs.llm"
    assert job.attributes["messaging.rabbitmq.message.delivery_tag"] == 1
    for consumer in ("orchestrator", "run_tracker"):
        linked = {
            link.context.span_id for span in everything if span.name == f"batch {consumer}" for link in span.links
        }
        assert linked & by_id.keys(), f"no batch of the {consumer} is linked to the run"
    assert "a secret question" not in str([span.to_json() for span in everything])


async def test_a_retry_goes_on_in_the_trace_of_its_run(stack, empty_queues, empty_tables, spans):
    async with system(stack) as client:
        params = {"userMessage": "hm", "model": "offline:500"}
        retry = {"maxAttempts": 2, "firstPause": 0.1}
        graph = {"nodes": [{"id": "ask", "type": "llm", "params": params, "retry": retry}], "edges": []}
        workflow = (await client.post("/api/workflows", json={"graph": graph})).json()
        started = await client.post(
            f"/api/workflows/{workflow['id']}/execute?wait=30", json={}, headers={"traceparent": PARENT}
        )
    assert started.json()["status"] == "failed", started.text
    jobs = [span for span in spans() if span.name == "process jobs.llm"]
    assert [span.attributes["weft.node.attempt"] for span in jobs] == [1, 2]
    assert {f"{span.context.trace_id:032x}" for span in jobs} == {PARENT.split("-")[1]}
    assert {span.attributes["error.type"] for span in jobs} == {"llm_unavailable"}
