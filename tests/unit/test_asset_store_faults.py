"""Fault 16: an asset store that is full, slow or failing gives a typed error, and never shows half an object."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from datetime import timedelta

import pytest

from shared import assets
from shared.assets import AssetStore
from shared.contracts.errors import UnavailableError
from shared.contracts.values import AssetRef
from shared.images import ImageInfo

INFO = ImageInfo("image/png", 1, 1)
LARGE = 2 * 1024 * 1024
KILLS = 10
REF = AssetRef(key=f"images/00/{'0' * 64}.png", media_type="image/png", size=1, width=1, height=1)
# Puts one file after the other, each with other bytes, and says when it begins.
_PUT_WITHOUT_END = """
import os, sys
from shared.assets import AssetStore
from shared.images import ImageInfo
store = AssetStore.from_url(sys.argv[1])
print("begun", flush=True)
while True:
    store.put_image_blocking(os.urandom(4_000_000), ImageInfo("image/png", 1, 1))
"""
# A file size that the system refuses to exceed is as good as a disk that is full.
_PUT_ON_A_FULL_DISK = """
import resource, sys
from shared.assets import AssetStore
from shared.contracts.errors import UnavailableError
from shared.images import ImageInfo
store = AssetStore.from_url(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, resource.RLIM_INFINITY))
try:
    store.put_image_blocking(b"x" * int(sys.argv[2]), ImageInfo("image/png", 1, 1))
except UnavailableError as err:
    print(err.code)
"""


def visible(root):
    """Return what a reader could be given: files under the names of pictures."""
    return [path for path in root.rglob("*.png") if path.is_file()]


def test_of_a_writer_that_is_killed_no_half_written_picture_is_left(tmp_path):
    for kill in range(KILLS):
        command = [sys.executable, "-c", _PUT_WITHOUT_END, tmp_path.as_uri()]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout
            writer.stdout.readline()
            written = len(visible(tmp_path))
            while len(visible(tmp_path)) <= written + kill % 3:
                os.sched_yield()
            writer.send_signal(signal.SIGKILL)
    pictures = visible(tmp_path)
    assert len(pictures) >= KILLS
    for picture in pictures:
        assert hashlib.sha256(picture.read_bytes()).hexdigest() == picture.stem


def test_a_full_disk_is_told_and_shows_nothing_and_there_is_no_harm_once_it_has_room(tmp_path):
    command = [sys.executable, "-c", _PUT_ON_A_FULL_DISK, tmp_path.as_uri(), str(LARGE)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "asset_store_unavailable\n"
    assert visible(tmp_path) == []
    store = AssetStore.from_url(tmp_path.as_uri())
    data = b"x" * LARGE
    assert store.get_blocking(store.put_image_blocking(data, INFO)) == data


@pytest.fixture
def s3(monkeypatch):
    """Return a store at an endpoint on this machine, and the means to be that endpoint."""
    monkeypatch.setattr(assets, "_S3_TIMEOUT", timedelta(seconds=1))

    def at(server):
        port = server.sockets[0].getsockname()[1]
        for name, value in {
            "ENDPOINT": f"http://127.0.0.1:{port}",
            "ACCESS_KEY_ID": "i",
            "SECRET_ACCESS_KEY": "s",
        }.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        return AssetStore.from_url("s3://bucket/prefix")

    return at


async def test_a_store_that_never_answers_is_given_up(s3):
    hung = asyncio.Event()

    async def hang(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await hung.wait()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        store = s3(server)
        async with asyncio.timeout(30):
            with pytest.raises(UnavailableError, match="asset_store_unavailable"):
                await store.get(REF)
            with pytest.raises(UnavailableError, match="asset_store_unavailable"):
                await store.put_image(b"x", INFO)
        hung.set()


async def test_a_store_that_fails_is_asked_again_and_then_told_of(s3):
    requests = []

    async def fail(reader, writer):
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(fail, "127.0.0.1", 0) as server:
        with pytest.raises(UnavailableError, match="asset_store_unavailable"):
            await s3(server).get(REF)
    assert len(requests) > 1
