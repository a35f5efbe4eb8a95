"""POST /api/uploads."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request

from gateway.asset_views import UploadView
from gateway.dependencies import Connected
from gateway.pictures import PictureSize
from gateway.problems import problem_responses
from gateway.uploads import FIELD, received

_BINARY = {"type": "string", "format": "binary"}
_FORM = {"type": "object", "required": [FIELD], "properties": {FIELD: _BINARY}}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": {"schema": _FORM}, "image/*": {"schema": _BINARY}},
    }
}

router = APIRouter(prefix="/api/uploads", tags=["uploads"])


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    openapi_extra=_BODY,
    responses=problem_responses(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
async def upload_image(request: Request, connected: Connected) -> UploadView:
    """Keep a picture (JPEG, PNG or WebP, 25 MB at most), sent as a form's field `file` or as the body itself."""
    async with received(request) as file:
        asset = await connected.uploads.keep(file)
    name = asset.key.rpartition("/")[2]
    return UploadView(
        asset=asset,
        url=connected.links.sign(name, PictureSize.FULL),
        thumbnail_url=connected.links.sign(name, PictureSize.SMALL),
    )
