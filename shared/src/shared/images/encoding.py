"""From the pixels of a picture to a file, the same each time."""

import base64
import io

from PIL import Image

from shared.contracts.errors import invalid
from shared.images.colours import BACKGROUND, expand, flatten, in_mode, to_srgb
from shared.images.decoding import open_upright
from shared.images.formats import Format, writable
from shared.images.memory import memory_errors
from shared.images.warn import Warn, nobody

_TRUE_COLOUR = ("image/webp", "image/avif")  # what has neither grey nor palettes


def encode(
    image: Image.Image,
    media_type: str,
    *,
    quality: int | None = None,
    background: str = BACKGROUND,
    warn: Warn = nobody,
) -> bytes:
    """Return the picture as a file of that type, without metadata; equal pictures give equal bytes.

    Colours become sRGB, 8 bits per channel; a colour profile that does not fit the picture is ignored (`icc_ignored`).
    JPEG has no transparency: it is flattened on the background (`transparency_flattened`). `quality`, from 1 to 100, is
    the format's own default where it is None, and means nothing to PNG and GIF. Raises `format_unavailable`, and
    `image_too_large` if the format holds no picture of that size; and MemoryError.
    """
    form = writable(media_type)
    _check_size(image, form)
    image = _prepared(image, media_type, warn)
    if not form.transparent:
        image = flatten(image, background, warn)
    options = {**form.save_options, **({"quality": quality} if quality and form.lossy else {})}
    buffer = io.BytesIO()
    with memory_errors():
        image.save(buffer, form.pillow_name, icc_profile=None, exif=b"", xmp=b"", **options)
    return buffer.getvalue()


def downscaled_data_uri(data: bytes, *, max_side: int = 1024) -> str:
    """Return the picture as `data:image/jpeg;base64,...`, its longer side at most `max_side` pixels.

    It is upright, sRGB, flattened on white, without metadata, and never enlarged; raises as `inspect` does.
    """
    image = expand(open_upright(data))
    image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    return "data:image/jpeg;base64," + base64.b64encode(encode(image, "image/jpeg")).decode("ascii")


def _check_size(image: Image.Image, form: Format) -> None:
    if max(image.size) > form.max_side:
        raise invalid(
            "image_too_large",
            f"the result has {image.width} x {image.height} pixels; as {form.pillow_name} it may have {form.max_side:,}"
            " on a side",
            fix="ask for less of the picture, or for less padding, or scale it down with maxWidth and maxHeight",
        )


def _prepared(image: Image.Image, media_type: str, warn: Warn) -> Image.Image:
    """Return the picture in colours that the format holds; PNG and GIF keep what they can hold as it is."""
    if media_type in ("image/png", "image/gif") and image.mode != "CMYK" and not image.info.get("icc_profile"):
        return image
    image = to_srgb(image, warn)
    if media_type in _TRUE_COLOUR:
        return in_mode(image, "RGBA" if image.has_transparency_data else "RGB")
    return image
