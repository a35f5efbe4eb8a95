"""Uploaded pictures: read within the limit, looked at, kept."""

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import UploadFile
from starlette.requests import Request

from gateway.body_limit import too_large
from shared.assets import AssetStore
from shared.contracts.errors import invalid
from shared.contracts.values import MAX_PICTURE_BYTES, AssetRef
from shared.images import inspect

FIELD = "file"
CONCURRENT_INSPECTIONS = 2  # each may hold a decoded picture of 200 MB


class Uploads:
    """Keeps pictures in the asset store."""

    def __init__(self, assets: AssetStore) -> None:
        self._assets = assets
        self._limiter = CapacityLimiter(CONCURRENT_INSPECTIONS)

    async def keep(self, data: bytes) -> AssetRef:
        """Return where the picture is kept; raise InvalidInputError if it is none, or `asset_store_unavailable`."""
        info = await to_thread.run_sync(inspect, data, limiter=self._limiter)
        return await self._assets.put_image(data, info)


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
