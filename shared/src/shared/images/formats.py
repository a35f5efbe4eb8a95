"""Which formats of pictures there are, and which of them a file's content shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from PIL import (
    AvifImagePlugin,
    GifImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
    features,
)

from shared.contracts.errors import invalid

MAX_PIXELS = 50_000_000
MAX_SIDE = 16_384
QUALITY = 90  # of JPEG and of lossy WebP, on Pillow's scale of 0 to 100
AVIF_QUALITY = 75  # Pillow's own default; on libavif's scale it looks like 90 of a JPEG
AVIF = "image/avif"
_AVIF_BRANDS = (b"avif", b"avis")
_BRANDS_END = 64  # bytes; the brands of a file that is meant to be AVIF come among its first


@dataclass(frozen=True, slots=True)
class Format:
    """A format: its extension, Pillow's name and reader for it, and how it is written (`max_side` in pixels)."""

    extension: str
    pillow_name: str
    reader: type[ImageFile.ImageFile]
    save_options: Mapping[str, Any]
    transparent: bool = True
    lossy: bool = False
    max_side: int = MAX_SIDE


_ALL_FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "image/jpeg": Format(
            "jpg",
            "JPEG",
            JpegImagePlugin.JpegImageFile,
            {"quality": QUALITY, "comment": b""},
            transparent=False,
            lossy=True,
        ),
        "image/png": Format("png", "PNG", PngImagePlugin.PngImageFile, {}),
        "image/webp": Format(
            "webp", "WEBP", WebPImagePlugin.WebPImageFile, {"quality": QUALITY}, lossy=True, max_side=16_383
        ),
        "image/gif": Format("gif", "GIF", GifImagePlugin.GifImageFile, {"comment": b""}),
        # With several threads equal pictures might give other bytes; slower than speed 8, large ones take too long.
        AVIF: Format(
            "avif",
            "AVIF",
            AvifImagePlugin.AvifImageFile,
            {"quality": AVIF_QUALITY, "speed": 8, "max_threads": 1},
            lossy=True,
        ),
    }
)
FORMATS: Mapping[str, Format] = MappingProxyType(
    {name: form for name, form in _ALL_FORMATS.items() if name != AVIF or features.check("avif")}
)
MEDIA_TYPES = tuple(FORMATS)


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What a picture is: its media type, and the pixels of the upright picture (EXIF orientation applied)."""

    media_type: str
    width: int
    height: int

    @property
    def extension(self) -> str:
        """The usual file name extension, without a dot."""
        return _ALL_FORMATS[self.media_type].extension


def media_type(data: bytes) -> str:
    """Return the media type that the content shows; raise `empty_file` or `unsupported_format`."""
    if not data:
        raise invalid("empty_file", "the file is empty", fix="choose a picture")
    shown = _shown_type(data)
    if shown is None or shown not in FORMATS:
        raise invalid(
            "unsupported_format",
            "the content is no picture in an accepted format",
            fix=f"save it as one of {', '.join(MEDIA_TYPES)}",
        )
    return shown


def writable(media_type: str) -> Format:
    """Return the format to write; raise `format_unavailable` if this installation cannot write it."""
    if media_type not in FORMATS:
        raise invalid(
            "format_unavailable",
            f"pictures cannot be written as {media_type} here: Pillow was built without it",
            where="format",
            fix=f"choose one of {', '.join(MEDIA_TYPES)}, or install a Pillow that has it",
        )
    return FORMATS[media_type]


def _shown_type(data: bytes) -> str | None:
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return AVIF if _has_avif_brand(data) else None


def _has_avif_brand(data: bytes) -> bool:
    """Say whether the file's first box, ISO/IEC 14496-12's `ftyp`, names AVIF among its brands, in steps of 4 bytes."""
    if data[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(data[:4], "big"), _BRANDS_END)
    return any(data[start : start + 4] in _AVIF_BRANDS for start in range(8, end, 4))
