"""What tests do as clients of a gateway, and the workflow that they do it with."""

import asyncio
import io
from contextlib import asynccontextmanager

from PIL import Image
from tests.integration.gateway_fixtures import events_of

from shared.messaging.connection import connect

GRAPH = {
    "nodes": [
        {"id": "photo", "type": "uploadImage"},
        {"id": "half", "type": "cropImage", "data": {"label": "left half", "widthPercent": 50}},
        {"id": "out", "type": "response"},
    ],
    "edges": [
        {"source": "photo", "target": "half", "targetHandle": "image_url"},
        {"source": "half", "target": "out", "targetHandle": "left"},
    ],
}


def picture():
    buffer = io.BytesIO()
    Image.new("RGB", (200, 100), "red").save(buffer, "PNG")
    return buffer.getvalue()


async def upload(client):
    answer = await client.post("/api/uploads", content=picture())
    return {"type": "image", "asset": answer.json()["asset"]}


async def keep(client, graph=GRAPH, **fields):
    answer = await client.post("/api/workflows", json={"graph": graph, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def execute(client, workflow, **fields):
    body = {"inputs": {"photo": await upload(client)}, **fields}
    return await client.post(f"/api/workflows/{workflow['id']}/execute", json=body)


@asynccontextmanager
async def watching(client, location):
    async with asyncio.timeout(30), client.stream("GET", f"{location}/events") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield events_of(answer)


async def watch(client, location):
    async with watching(client, location) as events:
        return [event async for event in events]


async def recorded(client, location):
    """Return a run once its end is recorded, which may be a moment after it is told."""
    run = {}

    async def is_recorded():
        run.update((await client.get(location)).json())
        return "finishedAt" in run

    await watch(client, location)
    await until(is_recorded)
    return run


def problem(answer, status, code):
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def timed(request):
    """Return the answer, which must come within 10 s."""
    async with asyncio.timeout(10):
        return await request


async def until(condition):
    """Return when the condition, which asks somebody each time, is met."""
    async with asyncio.timeout(30):
        while not await condition():
            pass


async def messages_in(stack, queue):
    """Return how many messages wait in a queue now; a channel that knows the queue would tell its first answer."""
    async with connect(stack.amqp_url, name="test", patience=5) as connection, connection.channel() as channel:
        declared = await channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count
