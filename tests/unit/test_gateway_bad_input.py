"""What a request can do wrong, and what the user sees: pictures and workflows, as the gateway answers them.

What is only found out in a node (crops outside of the picture, prompts that are too long, refusals of a model) is in
the tests of the workers; names that are taken, the broker or database away, and what belongs to others in those of the
gateway.
"""

import io
import struct
import zlib

import pytest
from PIL import Image
from tests.unit.gateway_app import client_of, new_dependencies, problem

from shared.assets import AssetStore
from shared.contracts.graph import MAX_NODES


@pytest.fixture
async def client(tmp_path, pool):
    async with client_of(new_dependencies(AssetStore.from_url(tmp_path.as_uri()), pool)) as client:
        yield client


def saved(form):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, form)
    return buffer.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, *chunks):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks)


BOMB = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(8_000_000)))
PICTURES = {
    "empty": (b"", 422, "empty_file"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "unsupported_format"),
    "PDF": (saved("PDF"), 415, "unsupported_format"),
    "EPS": (saved("EPS"), 415, "unsupported_format"),
    "TIFF": (saved("TIFF"), 415, "unsupported_format"),
    "too many pixels by its header": (png(10_001, 5_000, chunk(b"IDAT", b"")), 422, "image_too_large"),
    "too long a side by its header": (png(16_385, 1, chunk(b"IDAT", b"")), 422, "image_too_large"),
    "truncated": (saved("PNG")[:45], 422, "image_corrupt"),
    "text bomb": (
        png(1, 1, BOMB, chunk(b"IDAT", zlib.compress(bytes(4))), chunk(b"IEND", b"")),
        422,
        "image_metadata_too_large",
    ),
}


@pytest.mark.parametrize(("data", "status", "code"), PICTURES.values(), ids=PICTURES.keys())
@pytest.mark.parametrize("as_form", [True, False])
async def test_what_is_no_picture_that_is_taken(client, data, status, code, as_form):
    body = {"files": {"file": ("picture.png", data, "image/png")}} if as_form else {"content": data}
    document = problem(await client.post("/api/uploads", **body), status, code)
    assert document["problems"][0]["fix"]


def crop(node_id, **params):
    return {"id": node_id, "type": "crop_image", "params": params}


def edge(source, target, handle="image"):
    return {"source": source, "target": target, "targetHandle": handle}


PHOTO, TEXT = {"id": "photo", "type": "upload_image"}, {"id": "text", "type": "text"}
GRAPHS = {
    "cycle": ([crop("a"), crop("b")], [edge("a", "b"), edge("b", "a")], "cycle"),
    "unknown type": ([{"id": "a", "type": "nonsense"}], [], "unknown_type"),
    "unknown node": ([PHOTO], [edge("photo", "nowhere")], "unknown_node"),
    "unknown handle": ([PHOTO, crop("a")], [edge("photo", "a"), edge("photo", "a", "nonsense")], "unknown_handle"),
    "wrong type on an edge": ([TEXT, crop("a")], [edge("text", "a")], "type_mismatch"),
    "too many nodes": ([{"id": str(n), "type": "text"} for n in range(MAX_NODES + 1)], [], "too_many_nodes"),
    "crop of zero": ([PHOTO, crop("a", width=0)], [edge("photo", "a")], "invalid_params"),
    "negative crop": ([PHOTO, crop("a", x=-1)], [edge("photo", "a")], "invalid_params"),
}


@pytest.mark.parametrize(("nodes", "edges", "code"), GRAPHS.values(), ids=GRAPHS.keys())
async def test_what_is_no_workflow(client, nodes, edges, code):
    answer = await client.post("/api/workflows", json={"graph": {"nodes": nodes, "edges": edges}})
    assert answer.status_code == 422, answer.text
    assert code in [item["code"] for item in answer.json()["problems"]]
