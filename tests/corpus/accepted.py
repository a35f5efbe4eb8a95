"""Files that are taken, some with a warning."""

import io
import zipfile
from collections.abc import Iterator
from functools import partial

from PIL import ExifTags, Image
from tests.corpus import profiles
from tests.corpus.specimen import Specimen, animation, picture, png, saved, see_through

FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "avif": "AVIF"}
LONGEST = 16_384


def accepted() -> Iterator[Specimen]:
    for extension, form in FORMATS.items():
        yield Specimen(f"plain.{extension}", partial(_plain, form))
        yield Specimen(f"one-pixel.{extension}", partial(_blank, form, 1, 1))
    yield from _large()
    yield from _colours()
    yield from _transparent()
    yield from _animated()
    yield from _with_payloads()


def _large() -> Iterator[Specimen]:
    yield Specimen("longest-side.png", partial(_blank, "PNG", LONGEST, 4))
    yield Specimen("longest-side.jpg", partial(_blank, "JPEG", 4, LONGEST))
    yield Specimen("most-pixels.png", lambda: saved(Image.new("1", (10_000, 5_000)), "PNG"))


def _colours() -> Iterator[Specimen]:
    yield Specimen("turned.jpg", lambda: saved(picture(), "JPEG", exif=_orientation(6)))
    yield Specimen("grey-16-bit.png", _grey_16_bit, warnings=("depth_reduced",))
    yield Specimen("rgb-16-bit.png", _rgb_16_bit, warnings=("depth_reduced",))
    yield Specimen("profile.png", lambda: saved(picture(), "PNG", icc_profile=profiles.swapped()))
    yield Specimen("cmyk.jpg", lambda: saved(picture().convert("CMYK"), "JPEG"))
    yield Specimen("cmyk-profile.jpg", _cmyk_with_profile)
    yield Specimen("broken-profile.jpg", partial(_with_profile, b"rubbish"), warnings=("icc_ignored",))
    grey = partial(_with_profile, profiles.linear_grey())
    yield Specimen("profile-for-other-channels.jpg", grey, warnings=("icc_ignored",))


def _transparent() -> Iterator[Specimen]:
    for extension in ("png", "webp", "avif"):
        yield Specimen(f"transparent.{extension}", partial(saved, see_through(), FORMATS[extension]))
    for extension in ("png", "gif"):
        yield Specimen(f"palette-transparent.{extension}", partial(_palette, FORMATS[extension]))


def _animated() -> Iterator[Specimen]:
    for extension in ("gif", "webp", "png", "avif"):
        name, build = f"animated.{extension}", partial(animation, FORMATS[extension])
        yield Specimen(name, build, warnings=("animation_dropped",))


def _with_payloads() -> Iterator[Specimen]:
    script = b"<script>alert(document.cookie)</script>"
    yield Specimen("archive-appended.jpg", lambda: _plain("JPEG") + _archive())
    yield Specimen("script-appended.png", lambda: _plain("PNG") + script)
    yield Specimen("script-appended.gif", lambda: _plain("GIF") + b"/*" + script + b"*/")
    yield Specimen("pdf-inside.jpg", lambda: saved(picture(), "JPEG", comment=b"%PDF-1.7\n1 0 obj"))


def _plain(form: str) -> bytes:
    return saved(picture(), form)


def _blank(form: str, width: int, height: int) -> bytes:
    return saved(Image.new("RGB", (width, height), (30, 60, 90)), form)


def _orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = value
    return exif


def _grey_16_bit() -> bytes:
    values = b"".join((x * 65_535 // 63).to_bytes(2, "big") for x in range(64))
    return png(64, 8, depth=16, colour_type=0, rows=8 * (b"\0" + values))


def _rgb_16_bit() -> bytes:
    values = b"".join((x * 65_535 // 63).to_bytes(2, "big") * 2 + b"\x80\x00" for x in range(64))
    return png(64, 8, depth=16, colour_type=2, rows=8 * (b"\0" + values))


def _cmyk_with_profile() -> bytes:
    return saved(Image.new("CMYK", (32, 32), (255, 0, 0, 0)), "JPEG", icc_profile=profiles.cmyk(), quality=95)


def _with_profile(profile: bytes) -> bytes:
    return saved(picture(), "JPEG", icc_profile=profile)


def _palette(form: str) -> bytes:
    image = picture().quantize(16)
    return saved(image, form, transparency=image.getpixel((0, 0)))


def _archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("payload.js", (2020, 1, 1, 0, 0, 0)), "PAYLOAD")
    return buffer.getvalue()
