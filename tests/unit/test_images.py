"""Pictures are recognised by content, opened upright, refused with a typed error, and encoded the same each time."""

import base64
import io
import struct
import zlib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageDraw, PngImagePlugin
from tests.corpus import profiles
from tests.corpus.specimen import png_chunk

from shared.contracts.errors import InvalidInputError
from shared.images import (
    MAX_PIXELS,
    MAX_SIDE,
    MEDIA_TYPES,
    ImageInfo,
    Warnings,
    downscaled_data_uri,
    encode,
    inspect,
    media_type,
    open_upright,
)

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
FORMATS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
    "image/avif": "AVIF",
}
ORIENTED = ("JPEG", "PNG", "WEBP", "AVIF")  # those that hold EXIF
BROKEN_EXIF_IS_WARNED_OF = pytest.mark.filterwarnings("ignore::UserWarning:PIL")
# How a camera that was held that way stores an upright picture.
STORED_AS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def save(image: Image.Image, form: str, **options: Any):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def quadrants(width: int = 64, height: int = 32):
    """Red and green above blue and white."""
    image = Image.new("RGB", (width, height), WHITE)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width // 2 - 1, height // 2 - 1), RED)
    draw.rectangle((width // 2, 0, width - 1, height // 2 - 1), GREEN)
    draw.rectangle((0, height // 2, width // 2 - 1, height - 1), BLUE)
    return image


def photo_like(width: int = 48, height: int = 32):
    return Image.effect_mandelbrot((width, height), (-2, -1, 1, 1), 50).convert("RGB")


def stored(form: str, orientation: int):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    transpose = STORED_AS[orientation]
    image = quadrants()
    turned = image if transpose is None else image.transpose(transpose)
    return save(turned, form, exif=exif, lossless=True, quality=95)


def is_near(colour: float | tuple[int, ...] | None, expected: tuple[int, ...], tolerance: int = 12) -> bool:
    assert isinstance(colour, tuple)
    return all(abs(a - b) <= tolerance for a, b in zip(colour, expected, strict=True))


def code_of(data: bytes):
    with pytest.raises(InvalidInputError) as caught:
        inspect(data)
    return caught.value.code


def png_header(width: int, height: int):
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


class TestInspect:
    @pytest.mark.parametrize("kind", MEDIA_TYPES)
    def test_names_what_the_content_is(self, kind: str) -> None:
        assert inspect(save(quadrants(), FORMATS[kind])) == ImageInfo(kind, 64, 32)

    @pytest.mark.parametrize("form", ORIENTED)
    @pytest.mark.parametrize("orientation", STORED_AS)
    def test_measures_the_upright_picture(self, form: str, orientation: int) -> None:
        info = inspect(stored(form, orientation))
        assert (info.width, info.height) == (64, 32)

    def test_takes_what_is_appended_for_nothing(self) -> None:
        assert inspect(save(quadrants(), "JPEG") + b"<script>").width == 64

    def test_takes_the_first_frame_of_an_animation(self) -> None:
        data = save(quadrants(), "WEBP", save_all=True, append_images=[quadrants().rotate(180)], lossless=True)
        assert inspect(data) == ImageInfo("image/webp", 64, 32)
        assert open_upright(data).convert("RGB").getpixel((0, 0)) == RED

    def test_extension(self) -> None:
        assert [ImageInfo(kind, 1, 1).extension for kind in MEDIA_TYPES] == ["jpg", "png", "webp", "gif", "avif"]


class TestRefusals:
    def test_empty(self) -> None:
        assert code_of(b"") == "empty_file"

    @pytest.mark.parametrize("form", ["TIFF", "BMP", "PDF", "EPS", "ICO"])
    def test_other_formats_whatever_they_are_called(self, form: str) -> None:
        assert code_of(save(quadrants(), form)) == "unsupported_format"

    @pytest.mark.parametrize(
        "data", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7\n", b"RIFF\0\0\0\0WAVE", b"\0"]
    )
    def test_other_content(self, data: bytes) -> None:
        with pytest.raises(InvalidInputError) as caught:
            media_type(data)
        assert caught.value.code == "unsupported_format"
        assert all(kind in (caught.value.problems[0].fix or "") for kind in MEDIA_TYPES)

    @pytest.mark.parametrize("form", FORMATS.values())
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
    def test_truncated(self, form: str, share: float) -> None:
        data = save(photo_like(), form)
        assert code_of(data[: max(16, int(len(data) * share))]) == "image_corrupt"

    def test_damaged_png_data(self) -> None:
        data = bytearray(save(photo_like(), "PNG"))
        middle = len(data) // 2
        data[middle : middle + 40] = bytes(40)
        assert code_of(bytes(data)) == "image_corrupt"

    @pytest.mark.parametrize(
        ("width", "height"), [(10_001, 5_000), (MAX_SIDE + 1, 1), (1, MAX_SIDE + 1), (2**31 - 1, 2**31 - 1)]
    )
    def test_too_large_by_its_header(self, width: int, height: int) -> None:
        with pytest.raises(InvalidInputError) as caught:
            inspect(png_header(width, height) + png_chunk(b"IDAT", b""))
        assert caught.value.code == "image_too_large"
        assert f"{width} x {height}" in str(caught.value)

    def test_too_large_webp_by_its_header(self) -> None:
        sides = b"".join((16_383 - 1).to_bytes(3, "little") for _ in range(2))
        body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + sides
        assert code_of(b"RIFF" + struct.pack("<I", len(body)) + body) == "image_too_large"

    def test_as_large_as_allowed(self) -> None:
        assert inspect(save(Image.new("1", (10_000, MAX_PIXELS // 10_000)), "PNG")).height == 5_000
        assert inspect(save(Image.new("1", (MAX_SIDE, 1)), "PNG")).width == MAX_SIDE

    @pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
    def test_metadata_bombs(self, kind: bytes) -> None:
        bomb = zlib.compress(bytes(8_000_000))
        body = {b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0", b"iCCP": b"a\0\0"}[kind] + bomb
        data = save(quadrants(), "PNG")
        after_header = len(png_header(1, 1))
        assert code_of(data[:after_header] + png_chunk(kind, body) + data[after_header:]) == "image_metadata_too_large"

    def test_metadata_bomb_behind_the_pixels(self) -> None:
        data = save(quadrants(), "PNG")
        bomb = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(8_000_000)))
        assert code_of(data[:-12] + bomb + data[-12:]) == "image_metadata_too_large"

    @BROKEN_EXIF_IS_WARNED_OF
    @settings(max_examples=150, deadline=None)
    @given(data=st.data())
    def test_damaged_files_are_decoded_or_refused(self, data: st.DataObject) -> None:
        form = data.draw(st.sampled_from(ORIENTED))
        content = bytearray(stored(form, 6))
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(12, len(content) - 1))] = data.draw(st.integers(0, 255))
        with suppress(InvalidInputError):
            open_upright(bytes(content))


class TestOpenUpright:
    @pytest.mark.parametrize("form", ORIENTED)
    @pytest.mark.parametrize("orientation", STORED_AS)
    def test_turns_the_picture(self, form: str, orientation: int) -> None:
        image = open_upright(stored(form, orientation)).convert("RGB")
        corners = [image.getpixel(place) for place in ((4, 4), (60, 4), (4, 28), (60, 28))]
        assert all(is_near(*pair) for pair in zip(corners, (RED, GREEN, BLUE, WHITE), strict=True))

    def test_leaves_nothing_that_would_turn_it_again(self) -> None:
        image = open_upright(stored("JPEG", 6))
        assert not image.info
        assert inspect(save(image, "JPEG")) == ImageInfo("image/jpeg", 64, 32)

    @BROKEN_EXIF_IS_WARNED_OF
    @pytest.mark.parametrize("exif", [b"Exif\0\0rubbish", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"])
    def test_takes_broken_exif_for_none(self, exif: bytes) -> None:
        assert open_upright(save(quadrants(), "JPEG", exif=exif)).size == (64, 32)


class TestEncode:
    @pytest.mark.parametrize("kind", MEDIA_TYPES)
    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
    def test_every_mode_into_every_format(self, kind: str, mode: str) -> None:
        image = Image.new("L", (8, 8), 255).convert("I;16") if mode == "I;16" else quadrants(8, 8).convert(mode)
        assert inspect(encode(image, kind)) == ImageInfo(kind, 8, 8)

    @pytest.mark.parametrize("kind", MEDIA_TYPES)
    def test_equal_pictures_give_equal_bytes(self, kind: str) -> None:
        assert encode(photo_like(), kind) == encode(photo_like(), kind)

    @pytest.mark.parametrize("kind", MEDIA_TYPES)
    def test_leaves_all_metadata_out(self, kind: str) -> None:
        texts = PngImagePlugin.PngInfo()
        texts.add_text("Author", "CANARY")
        exif = Image.Exif()
        exif[ExifTags.Base.Artist] = "CANARY"
        source = save(
            quadrants(),
            FORMATS[kind],
            exif=exif,
            xmp=b"CANARY",
            comment=b"CANARY",
            pnginfo=texts,
            icc_profile=profiles.swapped(),
        )
        opened = Image.open(io.BytesIO(source))
        opened.load()
        for image in (opened, open_upright(source)):
            result = encode(image, kind)
            assert b"CANARY" not in result
            assert not {"exif", "xmp", "icc_profile", "comment", "Author"} & Image.open(io.BytesIO(result)).info.keys()

    def test_flattens_for_jpeg_on_white(self) -> None:
        image = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
        image.paste((0, 0, 255, 128), (0, 0, 8, 16))
        result = open_upright(encode(image, "image/jpeg"))
        assert is_near(result.getpixel((2, 8)), (127, 127, 255))
        assert is_near(result.getpixel((13, 8)), WHITE)

    def test_flattens_a_transparent_palette_entry(self) -> None:
        image = quadrants(16, 16).quantize(4)
        image.info["transparency"] = image.getpixel((0, 0))
        result = open_upright(encode(image, "image/jpeg"))
        assert is_near(result.getpixel((2, 2)), WHITE, 40)
        assert is_near(result.getpixel((2, 13)), BLUE, 40)

    def test_flattens_on_another_background_with_a_warning(self) -> None:
        warnings = Warnings()
        clear = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
        result = open_upright(encode(clear, "image/jpeg", background="#0000ff", warn=warnings))
        assert is_near(result.getpixel((8, 8)), BLUE)
        assert [warning.code for warning in warnings.all()] == ["transparency_flattened"]
        assert "#0000ff" in warnings.all()[0].message

    def test_warns_of_no_transparency_where_nothing_shows_through(self) -> None:
        warnings = Warnings()
        encode(Image.new("RGBA", (16, 16), (255, 0, 0, 255)), "image/jpeg", warn=warnings)
        assert warnings.all() == ()

    @pytest.mark.parametrize("kind", ["image/jpeg", "image/webp", "image/avif"])
    def test_a_lower_quality_makes_a_smaller_file(self, kind: str) -> None:
        image = photo_like(200, 200)
        assert len(encode(image, kind, quality=20)) < len(encode(image, kind)) < len(encode(image, kind, quality=100))

    def test_a_format_that_is_not_there_is_named(self) -> None:
        with pytest.raises(InvalidInputError) as caught:
            encode(quadrants(), "image/jxl")
        assert caught.value.code == "format_unavailable"

    @pytest.mark.parametrize("kind", ["image/png", "image/webp", "image/avif"])
    def test_keeps_transparency_elsewhere(self, kind: str) -> None:
        image = Image.new("RGBA", (8, 8), (255, 0, 0, 77))
        alpha = open_upright(encode(image, kind)).getchannel("A").getpixel((4, 4))
        assert alpha in range(75, 80)

    @pytest.mark.parametrize(("value", "expected"), [(0, 0), (257, 1), (32_896, 128), (65_535, 255)])
    @pytest.mark.parametrize("kind", ["image/jpeg", "image/png"])
    def test_scales_16_bits_to_8(self, kind: str, value: int, expected: tuple[int, ...]) -> None:
        result = open_upright(encode(Image.new("I;16", (8, 8), value), kind))
        assert (result.mode, result.getpixel((4, 4))) == ("L", expected)

    def test_turns_cmyk_into_rgb(self) -> None:
        source = save(quadrants(32, 32).convert("CMYK"), "JPEG", quality=95)
        result = open_upright(encode(open_upright(source), "image/jpeg"))
        assert result.mode == "RGB"
        assert is_near(result.getpixel((4, 4)), RED, 30)

    @pytest.mark.parametrize("kind", [kind for kind in MEDIA_TYPES if kind != "image/gif"])
    def test_applies_the_colour_profile(self, kind: str) -> None:
        source = save(quadrants(32, 32), FORMATS[kind], icc_profile=profiles.swapped(), quality=95, lossless=True)
        result = open_upright(encode(open_upright(source), kind)).convert("RGB")
        assert is_near(result.getpixel((4, 4)), GREEN, 30)
        assert is_near(result.getpixel((28, 4)), RED, 30)

    def test_applies_a_profile_under_transparency(self) -> None:
        image = Image.new("RGBA", (4, 4), (255, 0, 0, 99))
        image.info["icc_profile"] = profiles.swapped()
        assert is_near(open_upright(encode(image, "image/png")).getpixel((0, 0)), (0, 255, 0, 99), 3)

    @pytest.mark.parametrize(("mode", "value"), [("L", 128), ("LA", (128, 255)), ("I;16", 128 * 257)])
    def test_applies_a_grey_profile(self, mode: str, value: float | tuple[int, ...]) -> None:
        image = Image.new(mode, (4, 4), value)
        image.info["icc_profile"] = profiles.linear_grey()
        result = open_upright(encode(image, "image/png")).convert("RGB")
        assert is_near(result.getpixel((0, 0)), (188, 188, 188), 2)

    @pytest.mark.parametrize("profile", [b"rubbish", profiles.linear_grey()], ids=["broken", "for other channels"])
    def test_ignores_a_profile_that_does_not_fit(self, profile: bytes) -> None:
        image = quadrants()
        image.info["icc_profile"] = profile
        warnings = Warnings()
        assert open_upright(encode(image, "image/png", warn=warnings)).getpixel((0, 0)) == RED
        assert [warning.code for warning in warnings.all()] == ["icc_ignored"]


class TestDownscaledDataUri:
    @staticmethod
    def decode(uri: str):
        head, _, body = uri.partition(",")
        assert head == "data:image/jpeg;base64"
        return open_upright(base64.b64decode(body, validate=True))

    def test_shrinks_the_longer_side(self) -> None:
        data = save(quadrants(2000, 1000), "PNG")
        assert self.decode(downscaled_data_uri(data)).size == (1024, 512)
        assert self.decode(downscaled_data_uri(data, max_side=100)).size == (100, 50)

    def test_never_enlarges(self) -> None:
        assert self.decode(downscaled_data_uri(save(quadrants(), "WEBP"))).size == (64, 32)

    def test_keeps_a_pixel_of_the_shorter_side(self) -> None:
        for form in ("PNG", "JPEG"):
            assert self.decode(downscaled_data_uri(save(Image.new("RGB", (3000, 1)), form))).size == (1024, 1)

    def test_is_upright(self) -> None:
        image = self.decode(downscaled_data_uri(stored("JPEG", 6), max_side=32))
        assert image.size == (32, 16)
        assert is_near(image.getpixel((2, 2)), RED, 40)

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
    def test_takes_every_mode(self, mode: str) -> None:
        image = Image.new("L", (40, 20), 255).convert("I;16") if mode == "I;16" else quadrants(40, 20).convert(mode)
        assert self.decode(downscaled_data_uri(save(image, "PNG"), max_side=20)).size == (20, 10)

    def test_flattens_on_white(self) -> None:
        image = self.decode(downscaled_data_uri(save(Image.new("RGBA", (9, 9)), "PNG")))
        assert image.getpixel((4, 4)) == WHITE

    def test_is_srgb(self) -> None:
        data = save(quadrants(64, 64), "PNG", icc_profile=profiles.swapped())
        assert is_near(self.decode(downscaled_data_uri(data, max_side=32)).getpixel((4, 4)), GREEN, 30)

    def test_refuses_what_inspect_refuses(self) -> None:
        with pytest.raises(InvalidInputError, match="empty_file"):
            downscaled_data_uri(b"")
