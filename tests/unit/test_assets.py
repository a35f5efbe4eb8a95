"""What is put into the asset store comes back unchanged or not at all; against a real directory."""

import asyncio
import hashlib
import io
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from shared.assets import AssetStore
from shared.contracts.errors import InvalidInputError, UnavailableError
from shared.contracts.values import AssetRef
from shared.images import inspect


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "not yet made" / "assets"


@pytest.fixture
def store(root: Path) -> AssetStore:
    return AssetStore.from_url(root.as_uri())


def picture(colour: str | tuple[int, int, int] = "red", form: str = "PNG"):
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20), colour).save(buffer, form)
    return buffer.getvalue()


async def put(store: AssetStore, data: bytes) -> AssetRef:
    return await store.put_image(data, inspect(data))


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def place(store: AssetStore, ref: AssetRef) -> Path:
    path = store.local_path(ref)
    assert path is not None
    return path


@pytest.mark.parametrize(
    ("form", "media_type", "extension"),
    [("PNG", "image/png", "png"), ("JPEG", "image/jpeg", "jpg"), ("WEBP", "image/webp", "webp")],
)
async def test_keeps_a_picture_under_its_digest(store: AssetStore, form: str, media_type: str, extension: str) -> None:
    data = picture(form=form)
    digest = hashlib.sha256(data).hexdigest()
    ref = await put(store, data)
    key = f"images/{digest[:2]}/{digest}.{extension}"
    assert ref == AssetRef(key=key, media_type=media_type, size=len(data), width=30, height=20)
    assert await store.get(ref) == data


async def test_a_second_store_on_the_same_directory_reads_it(store: AssetStore, root: Path) -> None:
    ref = await put(store, picture())
    assert await AssetStore.from_url(root.as_uri()).get(ref) == picture()


async def test_putting_it_again_writes_nothing(store: AssetStore, root: Path) -> None:
    ref = await put(store, picture())
    before = [(path, path.stat().st_mtime_ns, path.stat().st_ino) for path in files(root)]
    assert await put(store, picture()) == ref
    assert [(path, path.stat().st_mtime_ns, path.stat().st_ino) for path in files(root)] == before


async def test_many_at_once(store: AssetStore, root: Path) -> None:
    pictures = [picture((shade, 0, 0)) for shade in range(20)] * 3
    refs = await asyncio.gather(*(put(store, data) for data in pictures))
    assert await asyncio.gather(*(store.get(ref) for ref in refs)) == pictures
    assert len(files(root)) == 20


async def test_a_picture_of_many_megabytes(store: AssetStore, root: Path) -> None:
    data = picture() + bytes(12_000_000)
    ref = await put(store, data)
    assert await store.get(ref) == data
    assert files(root) == [store.local_path(ref)]


async def test_a_missing_picture(store: AssetStore) -> None:
    ref = await put(store, picture())
    place(store, ref).unlink()
    with pytest.raises(InvalidInputError) as caught:
        await store.get(ref)
    assert (caught.value.code, caught.value.problems[0].where) == ("input_missing", ref.key)


async def test_a_damaged_picture(store: AssetStore) -> None:
    ref = await put(store, picture())
    place(store, ref).write_bytes(picture("blue"))
    with pytest.raises(InvalidInputError, match="asset_corrupt"):
        await store.get(ref)


async def test_a_picture_that_lost_bytes_is_replaced_when_put_again(store: AssetStore) -> None:
    ref = await put(store, picture())
    place(store, ref).write_bytes(b"")
    await put(store, picture())
    assert await store.get(ref) == picture()


@pytest.mark.parametrize("key", ["../secret", "/etc/passwd", "images/ab/cd.png", f"images/ab/{'0' * 64}.png", ""])
async def test_a_key_that_no_store_gave(store: AssetStore, key: str) -> None:
    ref = AssetRef(key=key, media_type="image/png", size=1, width=1, height=1)
    with pytest.raises(InvalidInputError, match="invalid_asset_key"):
        await store.get(ref)
    with pytest.raises(InvalidInputError, match="invalid_asset_key"):
        store.local_path(ref)


async def test_local_path(store: AssetStore, root: Path) -> None:
    ref = await put(store, picture())
    assert store.local_path(ref) == root / ref.key
    assert place(store, ref).read_bytes() == picture()
    assert AssetStore.from_url("s3://bucket/prefix").local_path(ref) is None


@pytest.mark.parametrize(
    "url",
    ["", "assets", "/tmp/assets", "file:relative", "file://host/path", "file:///", "s3://", "http://host/x", "memory:///",
     "file:///dev/null/assets", "file://["],
)  # fmt: skip
def test_a_wrong_url(url: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        AssetStore.from_url(url)
    problem = caught.value.problems[0]
    assert (problem.code, problem.where) == ("invalid_assets_url", "WEFT_ASSETS_URL")
    assert "file:///absolute/directory" in (problem.fix or "")
    assert "\n" not in problem.message


async def test_check_passes_on_an_empty_and_on_a_used_store(store: AssetStore) -> None:
    await store.check()
    await put(store, picture())
    await store.check()


async def test_a_directory_that_disappeared(store: AssetStore, root: Path) -> None:
    await asyncio.to_thread(root.rmdir)
    await asyncio.to_thread(root.write_text, "a file is in its place")
    with pytest.raises(UnavailableError, match="asset_store_unavailable"):
        await store.check()
    with pytest.raises(UnavailableError, match="asset_store_unavailable"):
        await put(store, picture())


async def test_a_directory_that_was_deleted(store: AssetStore, root: Path) -> None:
    await asyncio.to_thread(root.rmdir)
    with pytest.raises(UnavailableError, match="asset_store_unavailable"):
        await store.check()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], AssetStore]:
    def at_port(port: int) -> AssetStore:
        settings = {"ENDPOINT": f"http://127.0.0.1:{port}", "ACCESS_KEY_ID": "id", "SECRET_ACCESS_KEY": "CANARY"}
        for name, value in settings.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        return AssetStore.from_url("s3://bucket/prefix")

    return at_port


async def test_s3_that_nobody_answers_for(s3: Callable[[int], AssetStore]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        with pytest.raises(UnavailableError) as caught:
            await s3(unused.getsockname()[1]).check()
    assert caught.value.code == "asset_store_unavailable"
    assert "CANARY" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_s3_that_refuses_or_lacks_the_picture(s3: Callable[[int], AssetStore]) -> None:
    requests: list[bytes] = []
    status = "403 Forbidden"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append((await reader.readuntil(b"\r\n\r\n")).splitlines()[0])
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    ref = AssetRef(key=f"images/00/{'0' * 64}.png", media_type="image/png", size=1, width=1, height=1)
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        store = s3(server.sockets[0].getsockname()[1])
        with pytest.raises(UnavailableError, match="asset_store_unavailable"):
            await store.get(ref)
        status = "404 Not Found"
        with pytest.raises(InvalidInputError, match="input_missing"):
            await store.get(ref)
        with pytest.raises(UnavailableError, match="asset_store_unavailable"):  # no such bucket
            await store.check()
    assert requests[:2] == [f"GET /bucket/prefix/{ref.key} HTTP/1.1".encode()] * 2


def test_a_process_may_end_right_after_its_last_call(root: Path) -> None:
    program = (
        "import asyncio, sys; from shared.assets import AssetStore;"
        "asyncio.run(AssetStore.from_url(sys.argv[1]).check())"
    )
    for _ in range(3):
        subprocess.run([sys.executable, "-c", program, root.as_uri()], check=True, timeout=60)
