"""Pictures to look at: what workers made as it is, uploads only encoded anew, smaller ones made once and kept."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from anyio import CapacityLimiter

from gateway.renditions import downscaled, encoded_anew
from shared.assets import AssetStore, key_of_name
from shared.contracts.errors import InvalidInputError, invalid
from shared.decoding import DecoderPool
from shared.images import MEDIA_TYPES, ImageInfo
from shared.threads import run_in_thread

PIECE_BYTES = 1024 * 1024
CONCURRENT_RENDERINGS = 1  # each holds two files of up to 25 MB
_MEDIA_TYPES = {ImageInfo(kind, 1, 1).extension: kind for kind in MEDIA_TYPES}
_THUMBNAIL = "jpg"


class PictureSize(StrEnum):
    """How large a picture is shown: the longer side in pixels at most, never enlarged.

    `full` is encoded anew, without what may be hidden in an uploaded file; `original` is the file itself.
    """

    ORIGINAL = "original"
    FULL = "full"
    LARGE = "1024"
    MEDIUM = "512"
    SMALL = "256"
    TINY = "128"


@dataclass(frozen=True, slots=True)
class Picture:
    """A file in the store that can be shown; `tag` is equal for equal bytes only."""

    key: str
    size: int
    media_type: str
    tag: str


class Pictures:
    """Finds pictures in the store, and makes what is to be shown of them.

    They are decoded in processes of a pool. Every method raises `asset_store_unavailable` while the store cannot be
    used, and `decoder_unavailable`.
    """

    def __init__(self, assets: AssetStore, pool: DecoderPool) -> None:
        self._assets = assets
        self._pool = pool
        self._turns = CapacityLimiter(CONCURRENT_RENDERINGS)

    async def find(self, name: str, size: PictureSize) -> Picture:
        """Return a picture in a size; raise `asset_not_found`, or what is wrong with a stored file."""
        source, extension = key_of_name(name), name.rpartition(".")[2]
        if extension not in _MEDIA_TYPES:
            raise _not_found()
        is_thumbnail = size not in {PictureSize.ORIGINAL, PictureSize.FULL}
        shown = _THUMBNAIL if is_thumbnail else extension
        key = source if size is PictureSize.ORIGINAL else f"renditions/{size}/{name.partition('.')[0]}.{shown}"
        length = await run_in_thread(self._assets.length_blocking, key)
        if length is None and key != source:
            length = await self._render(source, size, key)
        if length is None:
            raise _not_found()
        return Picture(key, length, _MEDIA_TYPES[shown], f'"{name.partition(".")[0]}-{size}"')

    async def pieces(self, picture: Picture, start: int, end: int) -> AsyncGenerator[bytes]:
        """Yield the bytes from `start` to before `end`; few of them are in memory at a time."""
        for position in range(start, end, PIECE_BYTES):
            until = min(end, position + PIECE_BYTES)
            yield await run_in_thread(self._assets.read_blocking, picture.key, position, until)

    async def _render(self, source: str, size: PictureSize, key: str) -> int | None:
        async with self._turns:
            if await run_in_thread(self._assets.length_blocking, source) is None:
                return None
            data = await run_in_thread(self._assets.get_key_blocking, source)
            work = encoded_anew if size is PictureSize.FULL else partial(downscaled, max_side=int(size))
            rendered = (await self._pool.run(work, data)).data
            await run_in_thread(self._assets.put_derived_blocking, key, rendered)
        return len(rendered)


def _not_found() -> InvalidInputError:
    return invalid("asset_not_found", "there is no such picture", where="path.name", fix="upload it again")
