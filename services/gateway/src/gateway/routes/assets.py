"""Pictures: links to those of a run, for who may see the run; and where the links lead, for who has one."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from gateway.asset_views import AssetList, AssetView
from gateway.dependencies import Connected, Dependencies
from gateway.domain.ranges import wanted_range
from gateway.links import PATH
from gateway.pictures import Picture, PictureSize
from gateway.problems import problem_response, problem_responses
from gateway.routes.runs import RunId
from shared.contracts.errors import Problem
from shared.contracts.node_types import REGISTRY
from shared.contracts.queries import NodeView, RunView
from shared.contracts.values import ImageValue, RecordValue, Value

Name = Annotated[str, Path(pattern=r"^[0-9a-f]{64}\.[a-z]{2,5}$", description="digest and extension")]
_PICTURE = {"schema": {"type": "string", "format": "binary"}}
_SENT = {"content": {"image/*": _PICTURE}}

router = APIRouter(
    tags=["pictures"],
    responses=problem_responses(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
)


@router.get("/api/workflows/runs/{runId}/assets", response_model_exclude_none=True)
async def list_run_assets(run_id: RunId, connected: Connected) -> AssetList:
    """List the pictures of a run, with links that work for 10 to 15 minutes without a key."""
    return AssetList(assets=tuple(_views(await connected.runs.get(run_id), connected)))


@router.get(
    f"{PATH}/{{name}}",
    response_class=Response,
    responses={
        int(HTTPStatus.OK): {"description": "The picture.", **_SENT},
        int(HTTPStatus.PARTIAL_CONTENT): {"description": "The part of it that was asked for.", **_SENT},
        int(HTTPStatus.NOT_MODIFIED): {"description": "It is as the client has it."},
        **problem_responses(HTTPStatus.FORBIDDEN, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE),
    },
)
async def get_picture(  # noqa: PLR0917 -- FastAPI names them
    request: Request,
    name: Name,
    size: PictureSize,
    expires: Annotated[int, Query(ge=0, le=10**12)],
    signature: Annotated[str, Query(min_length=1, max_length=100, pattern="^[A-Za-z0-9_-]+$")],
    range_: Annotated[str | None, Header(alias="range", max_length=100)] = None,
    if_none_match: Annotated[str | None, Header(max_length=1_000)] = None,
    if_range: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    """Return a picture that a link leads to; parts of it by `Range`, nothing if the client has it (`If-None-Match`)."""
    connected: Dependencies = request.app.state.dependencies  # as nobody in particular: the signature is the key
    left = connected.links.check(name, size, expires, signature)
    picture = await connected.pictures.find(name, size)
    headers = _headers(picture, left)
    if picture.tag in [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    asked = range_ if if_range in (None, picture.tag) else None
    return _sent(connected, picture, asked, headers)


def _headers(picture: Picture, seconds: int) -> dict[str, str]:
    return {
        "ETag": picture.tag,
        "Accept-Ranges": "bytes",
        "Cache-Control": f"private, max-age={seconds}, immutable",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }


def _sent(connected: Dependencies, picture: Picture, asked: str | None, headers: dict[str, str]) -> Response:
    try:
        part = wanted_range(asked, picture.size)
    except ValueError:
        problem = Problem(code="range_not_satisfiable", message=f"the picture has {picture.size} bytes", where="range")
        status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        return problem_response(status, [problem], {"Content-Range": f"bytes */{picture.size}"})
    start, end = part or (0, picture.size)
    if part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{picture.size}"
    headers["Content-Length"] = str(end - start)
    status = HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK
    return StreamingResponse(connected.pictures.pieces(picture, start, end), status, headers, picture.media_type)


def _views(run: RunView, connected: Dependencies) -> Iterator[AssetView]:
    for node in run.nodes or ():
        for image in _images(node.output):
            name = image.asset.key.rpartition("/")[2]
            whole = PictureSize.ORIGINAL if _is_made_by_us(node) else PictureSize.FULL
            yield AssetView(
                node_id=node.node_id,
                asset=image.asset,
                url=connected.links.sign(name, whole),
                thumbnail_url=connected.links.sign(name, PictureSize.SMALL),
            )


def _is_made_by_us(node: NodeView) -> bool:
    """Tell whether a worker encoded the picture: what a client sent may hold more than a picture."""
    node_type = REGISTRY.get(node.node_type or "")
    return node_type is not None and node_type.queue is not None


def _images(value: Value | None) -> Iterator[ImageValue]:
    match value:
        case ImageValue():
            yield value
        case RecordValue(fields=fields):
            for part in fields.values():
                yield from _images(part)
        case _:
            return
