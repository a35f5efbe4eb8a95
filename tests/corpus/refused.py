"""Files that are refused, each with its code."""

import struct
import zlib
from collections.abc import Iterator
from functools import partial

from tests.corpus.accepted import FORMATS
from tests.corpus.specimen import Specimen, picture, png, png_chunk, saved

_BOMB = zlib.compress(bytes(8_000_000))
_SVG = b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
_EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
_HEIC = struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"heic", 0, b"mif1", b"heic") + bytes(64)


def refused() -> Iterator[Specimen]:
    yield Specimen("empty.jpg", bytes, "empty_file")
    yield from _other_formats()
    yield from _truncated()
    yield from _corrupt()
    yield from _too_large()
    yield from _too_much_metadata()


def _other_formats() -> Iterator[Specimen]:
    for form in ("TIFF", "BMP", "PDF", "ICO"):
        yield Specimen(f"renamed-{form.lower()}.jpg", partial(saved, picture(), form), "unsupported_format")
    for name, content in {"vector.svg": _SVG, "renamed-svg.png": _SVG, "vector.eps": _EPS, "phone.heic": _HEIC}.items():
        yield Specimen(name, partial(bytes, content), "unsupported_format")
    yield Specimen("page.jpg", lambda: b"<!doctype html><title>no picture</title>", "unsupported_format")


def _truncated() -> Iterator[Specimen]:
    for extension, form in FORMATS.items():
        for tenths in range(1, 10):
            yield Specimen(f"truncated-{tenths}0%.{extension}", partial(_cut, form, tenths), "image_corrupt")


def _corrupt() -> Iterator[Specimen]:
    yield Specimen("damaged.png", _damaged_png, "image_corrupt")
    yield Specimen("signature-only.png", lambda: b"\x89PNG\r\n\x1a\n" + bytes(40), "image_corrupt")
    yield Specimen("signature-only.jpg", lambda: b"\xff\xd8\xff\xe0" + bytes(40), "image_corrupt")
    yield Specimen("without-pixels.png", lambda: png(9, 9, depth=8, colour_type=2), "image_corrupt")
    rows = 9 * bytes(10)
    yield Specimen("without-palette.png", lambda: png(9, 9, depth=8, colour_type=3, rows=rows), "image_corrupt")


def _too_large() -> Iterator[Specimen]:
    wide = 16_385
    yield Specimen("bomb.png", lambda: png(30_000, 30_000, depth=1, colour_type=0, rows=bytes(9)), "image_too_large")
    yield Specimen("too-many-pixels.png", lambda: png(10_001, 5_000, depth=8, colour_type=2), "image_too_large")
    yield Specimen("too-wide.png", lambda: png(wide, 1, depth=8, colour_type=2), "image_too_large")
    yield Specimen("bomb.gif", _gif_bomb, "image_too_large")
    yield Specimen("bomb.webp", _webp_bomb, "image_too_large")
    yield Specimen("bomb.jpg", _jpeg_bomb, "image_too_large")


def _too_much_metadata() -> Iterator[Specimen]:
    bodies = {b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0", b"iCCP": b"a\0\0"}
    for kind, start in bodies.items():
        name = f"bomb-{kind.decode()}.png"
        yield Specimen(name, partial(_with_chunk, png_chunk(kind, start + _BOMB)), "image_metadata_too_large")


def _cut(form: str, tenths: int) -> bytes:
    data = saved(picture(), form)
    return data[: len(data) * tenths // 10]


def _damaged_png() -> bytes:
    data = bytearray(saved(picture(), "PNG"))
    middle = len(data) // 2
    data[middle : middle + 40] = bytes(40)
    return bytes(data)


def _with_chunk(chunk: bytes) -> bytes:
    after_header = 8 + 25
    data = saved(picture(), "PNG")
    return data[:after_header] + chunk + data[after_header:]


def _gif_bomb() -> bytes:
    data = bytearray(saved(picture(), "GIF"))
    data[6:10] = struct.pack("<HH", 65_535, 65_535)
    return bytes(data)


def _webp_bomb() -> bytes:
    sides = b"".join((16_383 - 1).to_bytes(3, "little") for _ in range(2))
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + sides
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _jpeg_bomb() -> bytes:
    data = bytearray(saved(picture(), "JPEG"))
    frame = data.index(b"\xff\xc0")  # marker, length, depth, then height and width
    data[frame + 5 : frame + 9] = struct.pack(">HH", 65_000, 65_000)
    return bytes(data)
