"""Uploaded pictures: received into temporary files, looked at one after the other, kept.

A file is whole in memory only while it is looked at, and few are at a time, however many are being received.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from tempfile import TemporaryFile
from typing import IO

from anyio import CapacityLimiter
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from gateway.body_limit import file_too_large
from shared.assets import AssetStore
from shared.contracts.errors import InvalidInputError, invalid
from shared.contracts.values import MAX_PICTURE_BYTES, AssetRef
from shared.decoding import DecoderPool, inspect_picture
from shared.images import media_type
from shared.threads import run_in_thread

FIELD = "file"
CONCURRENT_INSPECTIONS = 1  # each holds a file of up to 25 MB
SNIFFED_BYTES = 64  # as many as are needed to tell what a file is


class Uploads:
    """Keeps pictures in the asset store, once they have been decoded in a process of the pool."""

    def __init__(self, assets: AssetStore, pool: DecoderPool) -> None:
        self._assets = assets
        self._pool = pool
        self._turns = CapacityLimiter(CONCURRENT_INSPECTIONS)

    async def keep(self, file: IO[bytes]) -> AssetRef:
        """Return where the picture is kept.

        Raises InvalidInputError if it is none or costs too much to decode, `asset_store_unavailable`, and
        `decoder_unavailable`.
        """
        async with self._turns:
            data = await run_in_thread(_content, file)
            picture = await self._pool.run(inspect_picture, data)
            return await self._assets.put_image(data, picture.info)


@asynccontextmanager
async def received(request: Request) -> AsyncGenerator[IO[bytes]]:
    """Yield the uploaded file, from a form's field `file` or the raw body; it is gone afterwards.

    Raises `file_too_large` and `unsupported_format`, the latter of a raw body as soon as it begins wrongly.
    """
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        async with _received_form(request) as file:
            yield file
    else:
        with TemporaryFile() as file:
            await _receive_body(request, file)
            yield file


async def _receive_body(request: Request, file: IO[bytes]) -> None:
    size, head = 0, b""
    async for piece in request.stream():
        size += len(piece)
        if size > MAX_PICTURE_BYTES:
            raise file_too_large()
        if len(head) < SNIFFED_BYTES:
            head = (head + piece)[:SNIFFED_BYTES]
            if len(head) == SNIFFED_BYTES:
                media_type(head)
        await run_in_thread(file.write, piece)


class _Form(MultiPartParser):
    """Receives files into temporary ones, of which no more than this is in memory."""

    spool_max_size = 16 * 1024


@asynccontextmanager
async def _received_form(request: Request) -> AsyncGenerator[IO[bytes]]:
    parser = _Form(request.headers, request.stream(), max_files=1, max_fields=10)
    try:
        form = await parser.parse()
    except MultiPartException as err:
        raise _no_form(err.message) from err
    try:
        upload = form.get(FIELD)
        if not isinstance(upload, UploadFile):
            raise _no_form("the form holds no file")
        if (upload.size or 0) > MAX_PICTURE_BYTES:
            raise file_too_large()
        yield upload.file
    finally:
        await form.close()


def _no_form(message: str) -> InvalidInputError:
    return invalid("invalid_request", message, where=FIELD, fix=f"send a form with the picture in its field {FIELD!r}")


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()
