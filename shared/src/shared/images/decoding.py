"""From a file to the pixels of the upright picture."""

import io
import struct
import zlib
from collections.abc import Generator
from contextlib import contextmanager

from PIL import ExifTags, Image, ImageFile

from shared.contracts.errors import InvalidInputError, invalid
from shared.images.colours import to_8_bits
from shared.images.formats import AVIF, FORMATS, MAX_PIXELS, MAX_SIDE, ImageInfo, media_type
from shared.images.memory import memory_errors
from shared.images.warn import ANIMATION_DROPPED, DEPTH_REDUCED, Warn, nobody

# What Pillow's readers and the libraries beneath them raise on broken files. libavif's is a RuntimeError; of those
# that Python itself raises, none can come from a reader.
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    RuntimeError,
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
_PNG_DEPTH = 24  # where a PNG's header says the bits per channel
_DEEP_AVIF = 0x60  # the bits high_bitdepth and twelve_bit, in the third byte of an AVIF's box av1C


def inspect(data: bytes) -> ImageInfo:
    """Return what the picture is, having read all of it (of an animation, the first frame).

    A JPEG's pixels are decoded at an eighth of its size: that finds what is broken, with a fraction of the memory.
    Raises InvalidInputError with the code `empty_file`, `unsupported_format`, `image_too_large`,
    `image_corrupt` or `image_metadata_too_large`, and MemoryError.
    """
    image = _open(data)
    width, height = image.size
    _load(image, enough=1)
    if _orientation(image) in _LYING_ORIENTATIONS:
        width, height = height, width
    return ImageInfo(media_type(data), width, height)


def open_upright(data: bytes, warn: Warn = nobody, *, enough: int | None = None) -> Image.Image:
    """Return the decoded picture, upright, with 8 bits per channel; raises as `inspect` does.

    Of its metadata only the colour profile and the transparent colour remain, in `info`. Where `enough` pixels on the
    longer side are, a JPEG may be decoded at a half, a quarter or an eighth of its size, which is several times as
    fast. Warns of `depth_reduced` and `animation_dropped`.
    """
    image = _open(data)
    _load(image, enough)
    if _is_deep(data):
        warn(DEPTH_REDUCED)
    if _is_animated(image):
        warn(ANIMATION_DROPPED)
    transpose = _TRANSPOSE_OF_ORIENTATION.get(_orientation(image))
    upright = to_8_bits(image if transpose is None else image.transpose(transpose))
    upright.info = {key: upright.info[key] for key in _KEPT_INFO if key in upright.info}
    return upright


def _open(data: bytes) -> ImageFile.ImageFile:
    """Return the picture, of a size that is allowed, before its pixels are decoded.

    The reader is called by name, not through `Image.open`: that would check the size against a global of
    Pillow, warn instead of refusing, and say the same of a broken picture as of a format it does not know.
    """
    reader = FORMATS[media_type(data)].reader
    with _decode_errors():
        image = reader(io.BytesIO(data))
    _check_size(*image.size)
    return image


def _load(image: ImageFile.ImageFile, enough: int | None = None) -> None:
    """Decode the pixels, of a JPEG no more of them than `enough` on the longer side ask for."""
    with _decode_errors():
        if enough:
            share = enough / max(image.size)
            image.draft(None, (max(1, round(image.width * share)), max(1, round(image.height * share))))
        image.load()
        if image.mode == "P" and not image.palette:
            raise ValueError("its palette is missing")
    # WebP's and AVIF's, which Pillow keeps for further frames; it holds twice the memory of the picture.
    vars(image).pop("_decoder", None)


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
        with memory_errors():
            yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as err:  # before the size is known here
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


def _is_animated(image: Image.Image) -> bool:
    """Say whether there are further frames. A reader that stumbles on the second one has met one."""
    try:
        return bool(getattr(image, "is_animated", False))
    except _DECODE_ERRORS:
        return True


def _is_deep(data: bytes) -> bool:
    """Say whether a file that was decoded stores more than 8 bits per channel, which Pillow does not tell of all."""
    form = media_type(data)
    if form == "image/png":
        return data[_PNG_DEPTH] > 8  # noqa: PLR2004 - bits
    configuration = data.find(b"av1C") if form == AVIF else -1
    return configuration >= 0 and bool(data[configuration + 6] & _DEEP_AVIF)
