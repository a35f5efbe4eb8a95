"""POST /api/uploads."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request

from gateway.dependencies import Connected
from gateway.problems import problem_responses
from gateway.uploads import FIELD, read_upload
from gateway.views import UploadView

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
    return UploadView(asset=await connected.uploads.keep(await read_upload(request)))
