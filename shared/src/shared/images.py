"""Pictures in and out: what is accepted, how it is opened upright, how it is encoded.

Accepted are JPEG, PNG and WebP, recognised by content. Everything here is blocking and holds the decoded
picture in memory (four bytes per pixel at most), so it belongs in a thread or a process of its own.
"""

import base64
import io
import struct
import zlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from PIL import ExifTags, Image, ImageCms, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from shared.contracts.errors import InvalidInputError, invalid

MAX_PIXELS = 50_000_000
MAX_SIDE = 16_384
QUALITY = 90  # of JPEG and of lossy WebP, on Pillow's scale of 0 to 100
BACKGROUND = "white"  # what shows through where a format has no transparency


@dataclass(frozen=True, slots=True)
class _Format:
    """One accepted format: its extension, Pillow's name and reader for it, and how it is written."""

    extension: str
    pillow_name: str
    reader: type[ImageFile.ImageFile]
    save_options: Mapping[str, Any]


_FORMATS: Mapping[str, _Format] = MappingProxyType(
    {
        "image/jpeg": _Format("jpg", "JPEG", JpegImagePlugin.JpegImageFile, {"quality": QUALITY, "comment": b""}),
        "image/png": _Format("png", "PNG", PngImagePlugin.PngImageFile, {}),
        "image/webp": _Format("webp", "WEBP", WebPImagePlugin.WebPImageFile, {"quality": QUALITY}),
    }
)
MEDIA_TYPES = tuple(_FORMATS)

# What Pillow's readers and the libraries beneath them raise on broken files.
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
)
_TRANSPOSE_OF_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LYING_ORIENTATIONS = (5, 6, 7, 8)  # width and height change places
_KEPT_INFO = ("icc_profile", "transparency")  # what the pixels cannot be shown rightly without


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What a picture is: its media type, and the pixels of the upright picture (EXIF orientation applied)."""

    media_type: str
    width: int
    height: int

    @property
    def extension(self) -> str:
        """The usual file name extension, without a dot."""
        return _FORMATS[self.media_type].extension


def media_type(data: bytes) -> str:
    """Return the media type that the content shows; raise `empty_file` or `unsupported_format`."""
    if not data:
        raise invalid("empty_file", "the file is empty", fix="choose a picture")
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    raise invalid(
        "unsupported_format",
        "the content is no picture in an accepted format",
        fix=f"save it as one of {', '.join(MEDIA_TYPES)}",
    )


def inspect(data: bytes) -> ImageInfo:
    """Return what the picture is, having decoded all of it (of an animation, the first frame).

    Raises InvalidInputError with the code `empty_file`, `unsupported_format`, `image_too_large`,
    `image_corrupt` or `image_metadata_too_large`.
    """
    image = _decode(data)
    width, height = image.size
    if _orientation(image) in _LYING_ORIENTATIONS:
        width, height = height, width
    return ImageInfo(media_type(data), width, height)


def open_upright(data: bytes) -> Image.Image:
    """Return the decoded picture, upright, in the mode it is stored in; raises as `inspect` does.

    Of its metadata only the colour profile and the transparent colour remain, in `info`.
    """
    image = _decode(data)
    transpose = _TRANSPOSE_OF_ORIENTATION.get(_orientation(image))
    upright = image if transpose is None else image.transpose(transpose)
    upright.info = {key: image.info[key] for key in _KEPT_INFO if key in image.info}
    return upright


def encode(image: Image.Image, media_type: str) -> bytes:
    """Return the picture as a file of that type, without metadata; equal pictures give equal bytes.

    Colours become sRGB; a colour profile that does not fit the picture is ignored. JPEG has no
    transparency: it is flattened on white. More than 8 bits per channel survive in PNG only, without a
    profile; elsewhere they are scaled.
    """
    form = _FORMATS[media_type]
    if media_type == "image/jpeg":
        image = _flatten(_to_srgb(image))
    elif media_type == "image/webp" or image.mode == "CMYK" or image.info.get("icc_profile"):
        image = _to_srgb(image)
    buffer = io.BytesIO()
    image.save(buffer, form.pillow_name, icc_profile=None, exif=b"", xmp=b"", **form.save_options)
    return buffer.getvalue()


def downscaled_data_uri(data: bytes, *, max_side: int = 1024) -> str:
    """Return the picture as `data:image/jpeg;base64,...`, its longer side at most `max_side` pixels.

    It is upright, sRGB, flattened on white, without metadata, and never enlarged; raises as `inspect` does.
    """
    image = _expand(open_upright(data))
    image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    return "data:image/jpeg;base64," + base64.b64encode(encode(image, "image/jpeg")).decode("ascii")


def _decode(data: bytes) -> ImageFile.ImageFile:
    """Return the picture with its pixels loaded.

    The reader is called by name, not through `Image.open`: that would check the size against a global of
    Pillow, warn instead of refusing, and say the same of a broken picture as of a format it does not know.
    """
    reader = _FORMATS[media_type(data)].reader
    with _decode_errors():
        image = reader(io.BytesIO(data))
    _check_size(*image.size)
    with _decode_errors():
        image.load()
    return image


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise _too_large(f"the picture has {width} x {height} pixels")


def _too_large(message: str) -> InvalidInputError:
    limits = f"at most {MAX_PIXELS:,} pixels, and {MAX_SIDE:,} on a side"
    return invalid("image_too_large", message, fix=f"supply a smaller picture: {limits}")


@contextmanager
def _decode_errors() -> Generator[None]:
    """Translate what Pillow raises inside; its wording is the only sign of oversized metadata."""
    try:
        yield
    except Image.DecompressionBombError as err:  # by the WebP reader, before the size is known here
        raise _too_large(f"the picture is far too large: {err}") from err
    except _DECODE_ERRORS as err:
        if "MAX_TEXT_" in str(err):
            raise invalid(
                "image_metadata_too_large",
                "the texts or the colour profile inside the picture are too large",
                fix="save the picture without metadata",
            ) from err
        raise invalid("image_corrupt", f"the picture cannot be decoded: {err}", fix="supply an intact file") from err


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where it is missing or, as in browsers, the EXIF is broken."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _DECODE_ERRORS:
        return 1
    return value if value in _TRANSPOSE_OF_ORIENTATION else 1


def _expand(image: Image.Image) -> Image.Image:
    """Return the picture with 8 bits per channel, in mode L, LA, RGB, RGBA or CMYK."""
    if image.mode.startswith("I;16"):
        image = _to_8_bit(image)
    clear = image.has_transparency_data
    if image.mode in ("1", "L"):
        return _in_mode(image, "LA" if clear else "L")
    if image.mode in ("P", "PA", "RGB"):
        return _in_mode(image, "RGBA" if clear else "RGB")
    return image


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


def _scale_to_8_bit(value: Image.ImagePointTransform) -> Image.ImagePointTransform:
    return value * (1 / 257) + 0.5  # the half rounds, since what follows cuts off


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Return a picture of mode I;16 in mode L; scaled, where Pillow's own conversion would clip."""
    scaled = image.point(_scale_to_8_bit)  # pyright: ignore[reportUnknownMemberType]  # it names numpy's types
    grey = scaled.convert("L")
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey.info["transparency"] = round(clear / 257)
    return grey


def _to_srgb(image: Image.Image) -> Image.Image:
    """Return the picture in sRGB, 8 bits per channel, in mode L, LA, RGB or RGBA."""
    image = _expand(image)
    without_profile = "RGB" if image.mode == "CMYK" else image.mode
    profile = image.info.get("icc_profile")
    try:
        return _apply_profile(image, profile) if profile else _in_mode(image, without_profile)
    except (OSError, TypeError, ValueError):  # a broken profile, or one for other channels: viewers ignore it, too
        return _in_mode(image, without_profile)


def _apply_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """Return the picture converted from that ICC profile to sRGB, in mode RGB or RGBA."""
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    colours = _in_mode(image, image.mode.removesuffix("A"))
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    srgb = ImageCms.createProfile("sRGB")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # C
    target = ImageCms.ImageCmsProfile(srgb)  # pyright: ignore[reportUnknownArgumentType]  # C, without stubs
    converted = ImageCms.ImageCmsTransform(source, target, colours.mode, "RGB").apply(colours)
    if alpha:
        converted.putalpha(alpha)
    return converted


def _flatten(image: Image.Image) -> Image.Image:
    """Return a picture in mode L, LA, RGB or RGBA without its transparency, on the background."""
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    canvas = Image.new("RGBA", layer.size, BACKGROUND)
    return Image.alpha_composite(canvas, layer).convert("RGB")
