"""A box names the same part of the upright picture, whatever the unit, format and orientation."""

import io
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from crop_worker.body import crop_picture
from crop_worker.domain.box import crop_box
from crop_worker.domain.crop import cut
from shared.contracts.crop_params import CropImageParams
from shared.contracts.errors import InvalidInputError
from shared.images import ImageInfo, open_upright

SIDES = st.integers(1, 16_384)
FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
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


def percent(x: float = 0.0, y: float = 0.0, width: float = 100.0, height: float = 100.0) -> CropImageParams:
    return CropImageParams(x=x, y=y, width=width, height=height)


def px(x: float, y: float, width: float, height: float) -> CropImageParams:
    return CropImageParams(x=x, y=y, width=width, height=height, unit="px")


def gradient(width: int = 60, height: int = 30):
    """A picture whose colour at (x, y) is (4 x, 8 y, 128)."""
    pixels = bytes(value for y in range(height) for x in range(width) for value in (4 * x, 8 * y, 128))
    return Image.frombytes("RGB", (width, height), pixels)


def stored(image: Image.Image, form: str, orientation: int = 1, **options: Any):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    transpose = STORED_AS[orientation]
    turned = image if transpose is None else image.transpose(transpose)
    buffer = io.BytesIO()
    turned.save(
        buffer,
        form,
        exif=exif,
        **({"quality": 98, "subsampling": 0} if form == "JPEG" else {"lossless": True}) | options,
    )
    return buffer.getvalue()


def is_near(colour: float | tuple[int, ...] | None, expected: tuple[int, ...], tolerance: int = 14) -> bool:
    assert isinstance(colour, tuple)
    return all(abs(a - b) <= tolerance for a, b in zip(colour, expected, strict=True))


def crop_bytes(data: bytes, params: CropImageParams):
    result = crop_picture(data, params)
    return result.data, result.info


def crop(image: Image.Image, params: CropImageParams):
    return cut(image, crop_box(params, *image.size))


def code_of(params: CropImageParams, width: int, height: int):
    with pytest.raises(InvalidInputError) as caught:
        crop_box(params, width, height)
    return caught.value.code


class TestCropBox:
    @pytest.mark.parametrize(
        ("params", "box"),
        [
            (percent(), (0, 0, 200, 100)),
            (percent(25, 10, 50, 20), (50, 10, 150, 30)),
            (percent(0, 0, 0.001, 0.001), (0, 0, 1, 1)),
            (percent(99.999, 99.999, 0.001, 0.001), (199, 99, 200, 100)),
            (percent(0.25, 0, 0.5, 100), (1, 0, 2, 100)),
            (percent(66.6667, 0, 33.33330000001, 100), (133, 0, 200, 100)),
            (px(0, 0, 200, 100), (0, 0, 200, 100)),
            (px(10, 20, 30, 40), (10, 20, 40, 60)),
            (px(199, 99, 1, 1), (199, 99, 200, 100)),
            (px(10.4, 10.5, 1, 1), (10, 11, 11, 12)),
            (px(3, 3, 0.2, 0.2), (3, 3, 4, 4)),
            (px(0, 0, 200.0000001, 100), (0, 0, 200, 100)),
        ],
    )
    def test_pixels_of_the_box(self, params: CropImageParams, box: tuple[int, int, int, int]) -> None:
        assert crop_box(params, 200, 100) == box

    @pytest.mark.parametrize(
        "params",
        [
            px(0, 0, 201, 1),
            px(0, 0, 1, 101),
            px(200, 0, 1, 1),
            px(150, 0, 51, 1),
            px(1e6, 0, 1, 1),
            percent(100, 0, 1e-9, 1),
        ],
    )
    def test_refuses_what_reaches_outside(self, params: CropImageParams) -> None:
        assert code_of(params, 200, 100) == "invalid_crop"

    @pytest.mark.parametrize(
        "fields",
        [{"width": 0}, {"height": -1}, {"x": -1}, {"x": 60, "width": 60}, {"width": float("nan")}, {"y": float("inf")}],
    )
    def test_refuses_what_the_params_model_would_not_let_through(self, fields: dict[str, float]) -> None:
        params = percent().model_copy(update=fields)
        assert code_of(params, 200, 100) == "invalid_crop"

    def test_names_the_box_and_the_picture(self) -> None:
        with pytest.raises(InvalidInputError) as caught:
            crop_box(px(150, 0, 51, 20), 200, 100)
        assert "x 150, y 0, width 51, height 20, px" in str(caught.value)
        assert "200 x 100 pixels" in str(caught.value)

    @given(parts=st.integers(1, 12), width=SIDES, height=SIDES)
    def test_equal_parts_tile(self, parts: int, width: int, height: int) -> None:
        share = 100 / parts
        assume(width >= parts)
        boxes = [crop_box(percent(x=i * share, width=share), width, height) for i in range(parts)]
        edges = [box[0] for box in boxes] + [width]
        assert [box[2] for box in boxes] == edges[1:]
        assert edges[0] == 0
        sizes = [right - left for left, right in pairwise(edges)]
        assert max(sizes) - min(sizes) <= 1

    @pytest.mark.parametrize("thirds", [(33.33, 66.66), (33.333, 66.667), (100 / 3, 200 / 3)])
    @given(width=st.integers(3, 16_384))
    def test_thirds_tile_as_people_write_them(self, thirds: tuple[float, float], width: int) -> None:
        first, second = thirds
        cuts = ((0, first), (first, second - first), (second, 100 - second))
        boxes = [crop_box(percent(x=x, width=part), width, 1) for x, part in cuts]
        assert [boxes[0][0], boxes[0][2], boxes[1][2], boxes[2][2]] == [0, boxes[1][0], boxes[2][0], width]

    @given(cuts=st.lists(st.integers(1, 99_999), min_size=1, max_size=6, unique=True), height=SIDES)
    def test_any_rows_of_whole_pixels_tile(self, cuts: list[int], height: int) -> None:
        edges = [0, *sorted(cuts), 100_000]
        assume(all((b - a) * height >= 100_000 for a, b in pairwise(edges)))
        spans = [(a / 1000, b / 1000 - a / 1000) for a, b in pairwise(edges)]
        boxes = [crop_box(percent(y=y, height=part), 1, height) for y, part in spans]
        assert [0, *(box[3] for box in boxes)] == [*(box[1] for box in boxes), height]

    @given(x=st.floats(0, 100), part=st.floats(0, 100, exclude_min=True), width=SIDES, height=SIDES)
    def test_a_box_inside_gives_pixels_inside(self, x: float, part: float, width: int, height: int) -> None:
        assume(x < 100 and x + part <= 100)
        left, upper, right, lower = crop_box(percent(x=x, width=part), width, height)
        assert 0 <= left < right <= width
        assert (upper, lower) == (0, height)


class TestCrop:
    def test_takes_exactly_these_pixels(self) -> None:
        part = crop(gradient(), px(10, 5, 20, 10))
        assert part.size == (20, 10)
        assert part.getpixel((0, 0)) == (40, 40, 128)
        assert part.getpixel((19, 9)) == (116, 112, 128)

    def test_leaves_the_picture_as_it_was(self) -> None:
        image = gradient()
        crop(image, px(10, 5, 20, 10))
        assert (image.size, image.tobytes()) == ((60, 30), gradient().tobytes())


class TestCropBytes:
    @pytest.mark.parametrize("kind", FORMATS)
    @pytest.mark.parametrize("orientation", STORED_AS)
    def test_coordinates_refer_to_the_upright_picture(self, kind: str, orientation: int) -> None:
        data = stored(gradient(), FORMATS[kind], orientation)
        result, info = crop_bytes(data, percent(50, 50, 50, 50))
        image = open_upright(result).convert("RGB")
        assert info == ImageInfo(kind, 30, 15)
        assert image.size == (30, 15)
        assert is_near(image.getpixel((1, 1)), (124, 128, 128))
        assert is_near(image.getpixel((28, 13)), (232, 224, 128))

    @pytest.mark.parametrize("kind", FORMATS)
    def test_percent_and_px_name_the_same_box(self, kind: str) -> None:
        data = stored(gradient(), FORMATS[kind])
        assert crop_bytes(data, percent(20, 40, 10, 20)) == crop_bytes(data, px(12, 12, 6, 6))

    @pytest.mark.parametrize("kind", FORMATS)
    def test_the_same_again_gives_the_same_bytes(self, kind: str) -> None:
        data = stored(gradient(), FORMATS[kind])
        assert crop_bytes(data, percent(0, 0, 50, 50)) == crop_bytes(data, percent(0, 0, 50, 50))

    def test_thirds_put_together_are_the_picture(self) -> None:
        data = stored(gradient(61, 30), "PNG")
        parts = [open_upright(crop_bytes(data, percent(x=i * 100 / 3, width=100 / 3))[0]) for i in range(3)]
        joined, left = Image.new("RGB", (61, 30)), 0
        for part in parts:
            joined.paste(part, (left, 0))
            left += part.width
        assert (left, joined.tobytes()) == (61, gradient(61, 30).tobytes())

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
    def test_png_keeps_mode_and_pixels(self, mode: str) -> None:
        image = gradient().convert(mode)
        result = open_upright(crop_bytes(stored(image, "PNG"), px(7, 3, 20, 10))[0])
        assert result.mode == mode
        assert result.convert("RGBA").tobytes() == image.crop((7, 3, 27, 13)).convert("RGBA").tobytes()

    def test_cmyk_jpeg_becomes_rgb(self) -> None:
        data = stored(Image.new("CMYK", (20, 20), (0, 255, 255, 0)), "JPEG")
        image = open_upright(crop_bytes(data, percent(0, 0, 50, 50))[0])
        assert image.mode == "RGB"
        assert is_near(image.getpixel((5, 5)), (255, 0, 0))

    def test_nothing_of_the_metadata_is_left(self) -> None:
        data = stored(gradient(), "JPEG", 6, comment=b"CANARY", xmp=b"CANARY")
        result, _ = crop_bytes(data, percent())
        assert b"CANARY" not in result
        assert b"Exif" not in result

    @pytest.mark.parametrize(
        ("data", "params", "code"),
        [
            (b"", percent(), "empty_file"),
            (b"%PDF-1.7", percent(), "unsupported_format"),
            (stored(gradient(), "JPEG")[:-200], percent(), "image_corrupt"),
            (stored(gradient(), "JPEG"), px(0, 0, 61, 1), "invalid_crop"),
        ],
    )
    def test_what_cannot_be_cropped(self, data: bytes, params: CropImageParams, code: str) -> None:
        with pytest.raises(InvalidInputError) as caught:
            crop_bytes(data, params)
        assert caught.value.code == code
