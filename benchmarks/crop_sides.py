"""The pictures that are cropped, and how Pillow and libvips do it."""

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from shared.images import QUALITY

os.environ.setdefault("VIPS_CONCURRENCY", "1")  # a thread for a picture, as in the pool: cores are for more pictures
try:
    import pyvips
except ImportError:
    pyvips = None

LARGE_SIZE = (6_000, 4_000)
SIDES = ("way", "pool", "pillow", *(["pyvips"] if pyvips else []))


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture of the mix, and Pillow's and libvips' way of writing its format."""

    name: str
    data: bytes
    pillow: Mapping[str, object]
    vips: str


def samples() -> Sequence[Sample]:
    """Return the mix: the large JPEG that the aim is about, a usual photograph, a screenshot-like PNG, a WebP."""
    large, usual = photo(LARGE_SIZE), photo((1_920, 1_280))
    few_colours = usual.quantize(64).convert("RGB")
    jpeg, webp = {"format": "JPEG", "quality": QUALITY}, {"format": "WEBP", "quality": QUALITY}
    # At this quality libvips by itself keeps colours at their full resolution, Pillow at half of it: that is less work.
    vips_jpeg = f".jpg[Q={QUALITY},subsample_mode=on,keep=none]"
    return (
        Sample("JPEG, 24 MP", _saved(large, **jpeg), jpeg, vips_jpeg),
        Sample("JPEG, 2.5 MP", _saved(usual, **jpeg), jpeg, vips_jpeg),
        Sample("PNG, 2.5 MP", _saved(few_colours, format="PNG"), {"format": "PNG"}, ".png[filter=all,keep=none]"),
        Sample("WebP, 2.5 MP", _saved(usual, **webp), webp, f".webp[Q={QUALITY},keep=none]"),
    )


def photo(size: tuple[int, int]) -> Image.Image:
    """Return the sample photograph at that size, with as much noise as a camera adds."""
    original = Image.open(Path(__file__).parents[1] / "docs" / "examples" / "photo.jpg").convert("RGB")
    noise = Image.merge("RGB", [Image.effect_noise(size, 40) for _ in range(3)])
    return Image.blend(original.resize(size, Image.Resampling.LANCZOS), noise, 0.3)


def _saved(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **options)  # pyright: ignore[reportArgumentType]  # options differ by format
    return buffer.getvalue()


def pillow_crop(sample: Sample, data: bytes) -> bytes:
    """Crop as the pool does, with nothing but Pillow."""
    image = Image.open(io.BytesIO(data))
    ImageOps.exif_transpose(image, in_place=True)  # without a copy of a picture that is upright
    width, height = image.size
    return _saved(image.crop((width // 4, height // 4, width * 3 // 4, height * 3 // 4)), **sample.pillow)


def vips_crop(sample: Sample, data: bytes) -> bytes:
    """Crop as the pool does, with libvips: rows are read in their order, and none behind the last that is needed."""
    assert pyvips
    image = pyvips.Image.new_from_buffer(data, "", access="sequential").autorot()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType, reportOptionalMemberAccess, reportAttributeAccessIssue]  # no types
    width, height = image.width, image.height  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # no types
    part = image.crop(width // 4, height // 4, width // 2, height // 2)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # no types
    return part.write_to_buffer(sample.vips)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # no types
