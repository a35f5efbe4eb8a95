"""A file of the corpus, and what it is made of."""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from PIL import Image, ImageDraw


@dataclass(frozen=True)
class Specimen:
    """A file, and what becomes of it: the code that refuses it, or the warnings of a crop without params."""

    name: str
    build: Callable[[], bytes]
    code: str | None = None
    warnings: tuple[str, ...] = ()

    @cached_property
    def data(self) -> bytes:
        return self.build()


def picture(width: int = 64, height: int = 48) -> Image.Image:
    """Many colours and edges: a fractal on a gradient, with a red disc."""
    gradient = Image.linear_gradient("L").resize((width, height))
    fractal = Image.effect_mandelbrot((width, height), (-2, -1.2, 1, 1.2), 60)
    image = Image.merge("RGB", (gradient, fractal, gradient.rotate(180)))
    ImageDraw.Draw(image).ellipse((width // 4, height // 4, width // 2, height // 2), (220, 30, 40))
    return image


def see_through(width: int = 64, height: int = 48) -> Image.Image:
    """The picture, ever more transparent downwards."""
    image = picture(width, height)
    image.putalpha(Image.linear_gradient("L").resize((width, height)).rotate(180))
    return image


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def frames(count: int = 3) -> list[Image.Image]:
    """The frames of an animation, no two alike."""
    return [picture().rotate(90 * number) for number in range(count)]


def animation(form: str, **options: Any) -> bytes:
    first, *others = frames()
    return saved(first, form, save_all=True, append_images=others, duration=100, **options)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *, depth: int, colour_type: int, rows: bytes = b"", more: bytes = b"") -> bytes:
    """A PNG of raw rows, each after its filter byte; `more` are chunks before them."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + more + pixels + png_chunk(b"IEND", b"")
