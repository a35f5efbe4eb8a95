"""Uploaded pictures: read within the limit, looked at, kept."""

from starlette.datastructures import UploadFile
from starlette.requests import Request

from gateway.body_limit import too_large
from shared.assets import AssetStore
from shared.contracts.errors import invalid
from shared.contracts.values import MAX_PICTURE_BYTES, AssetRef
from shared.decoding import DecoderPool, inspect_picture

FIELD = "file"


class Uploads:
    """Keeps pictures in the asset store, once they have been decoded in a process of the pool."""

    def __init__(self, assets: AssetStore, pool: DecoderPool) -> None:
        self._assets = assets
        self._pool = pool

    async def keep(self, data: bytes) -> AssetRef:
        """Return where the picture is kept.

        Raises InvalidInputError if it is none or costs too much to decode, `asset_store_unavailable`, and
        `decoder_unavailable`.
        """
        picture = await self._pool.run(inspect_picture, data)
        return await self._assets.put_image(data, picture.info)


async def read_upload(request: Request) -> bytes:
    """Return the uploaded file, from a form's field `file` or the raw body; raise `file_too_large`.

    The body as a whole is limited before it gets here, so no more than that is read or spooled.
    """
    is_form = request.headers.get("content-type", "").lower().startswith("multipart/form-data")
    data = await _read_form(request) if is_form else await request.body()
    if len(data) > MAX_PICTURE_BYTES:
        raise too_large()
    return data


async def _read_form(request: Request) -> bytes:
    async with request.form(max_files=1, max_fields=10) as form:
        file = form.get(FIELD)
        if not isinstance(file, UploadFile):
            raise invalid("invalid_request", "the form holds no file", where=FIELD, fix=f"send it as field {FIELD!r}")
        return await file.read()
