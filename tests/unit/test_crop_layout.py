"""How a crop is given out: filled, padded, scaled down, in which format."""

import io
from functools import partial

import pytest
from PIL import Image
from tests.corpus import CORPUS
from tests.corpus.specimen import saved

from crop_worker.body import crop_picture
from crop_worker.domain.box import crop_box
from crop_worker.smart import find_focus
from shared.contracts.crop_params import CropImageParams
from shared.contracts.errors import InvalidInputError

RED, WHITE, BLUE, CLEAR = (255, 0, 0), (255, 255, 255), (0, 0, 255), (0, 0, 0, 0)
PLAIN = saved(Image.new("RGB", (40, 20), RED), "PNG")


def cropped(data=PLAIN, **params):
    """Return the crop, decoded, and the codes of its warnings."""
    result = crop_picture(data, CropImageParams(**params))
    image = Image.open(io.BytesIO(result.data))
    assert image.size == (result.info.width, result.info.height)
    assert Image.MIME[image.format or ""] == result.info.media_type
    return image, [warning.code for warning in result.warnings]


def test_what_is_outside_is_filled_with_the_background():
    image, _ = cropped(x=-10, y=-5, width=60, height=30, unit="px", out_of_bounds="pad", background="#0000ff")
    assert image.size == (60, 30)
    assert [image.getpixel(place) for place in ((9, 15), (10, 5), (49, 24), (50, 15))] == [BLUE, RED, RED, BLUE]


def test_padding_surrounds_the_result_within_its_limits():
    image, _ = cropped(padding=5, max_width=30)
    assert image.size == (30, 20)
    assert [image.getpixel(place) for place in ((4, 10), (5, 5), (24, 14), (25, 10))] == [WHITE, RED, RED, WHITE]


def test_transparent_padding_keeps_what_is_transparent_in_the_picture():
    see_through = saved(Image.new("RGBA", (10, 10), (255, 0, 0, 99)), "PNG")
    image, warnings = cropped(see_through, padding=2, background="transparent")
    assert [image.getpixel(place) for place in ((0, 0), (5, 5))] == [CLEAR, (255, 0, 0, 99)]
    assert warnings == []


def test_white_padding_leaves_the_picture_transparent():
    image, _ = cropped(saved(Image.new("RGBA", (10, 10), (255, 0, 0, 99)), "PNG"), padding=2)
    assert [image.getpixel(place) for place in ((0, 0), (5, 5))] == [(*WHITE, 255), (255, 0, 0, 99)]


@pytest.mark.parametrize(
    ("limits", "size"),
    [
        ({"max_width": 20}, (20, 10)),
        ({"max_height": 5}, (10, 5)),
        ({"max_width": 20, "max_height": 5}, (10, 5)),
        ({"max_width": 4_000}, (40, 20)),
        ({"max_width": 1}, (1, 1)),
    ],
)
def test_limits_scale_down_and_never_up(limits, size):
    assert cropped(**limits)[0].size == size


@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "avif"])
def test_formats(form):
    image, _ = cropped(CORPUS["plain.jpg"].data, format=form)
    assert image.format == form.upper()


@pytest.mark.parametrize(("name", "kept"), [("jpg", "JPEG"), ("webp", "WEBP"), ("gif", "PNG"), ("avif", "AVIF")])
def test_the_format_is_kept_but_for_gif(name, kept):
    assert cropped(CORPUS[f"plain.{name}"].data)[0].format == kept


def test_jpeg_is_flattened_on_the_background_with_a_warning():
    clear = saved(Image.new("RGBA", (16, 16), CLEAR), "PNG")
    for background, colour in {"white": WHITE, "#0000ff": BLUE}.items():
        image, warnings = cropped(clear, format="jpeg", background=background)
        assert image.getpixel((8, 8)) == pytest.approx(colour, abs=3)
        assert warnings == ["transparency_flattened"]


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("longest-side.png", {"format": "webp"}),
        ("longest-side.jpg", {"padding": 1}),
        ("longest-side.png", {"padding": 9}),
    ],
)
def test_a_result_that_its_format_cannot_hold_is_refused(name, params):
    with pytest.raises(InvalidInputError, match="maxWidth") as caught:
        cropped(CORPUS[name].data, **params)
    assert caught.value.code == "image_too_large"


def test_quality_decides_about_the_size():
    data = CORPUS["plain.png"].data
    sizes = [len(crop_picture(data, CropImageParams(format="webp", quality=quality)).data) for quality in (10, 90)]
    assert sizes[0] < sizes[1]


def test_every_input_through_everything_at_once():
    box = {"x": -3, "y": -3, "width": 70, "height": 52, "unit": "px", "out_of_bounds": "pad"}
    layout = {"background": "transparent", "max_width": 50, "max_height": 50, "padding": 3, "format": "webp"}
    for specimen in CORPUS.values():
        if specimen.code is None:
            image, _ = cropped(specimen.data, **box, **layout)
            assert image.size == (50, 39)


class TestSmart:
    @staticmethod
    def with_a_face_at(x, y):
        """A dull wall with a patch of skin and edges."""
        image = Image.new("RGB", (900, 300), (120, 125, 130))
        lines = Image.effect_mandelbrot((120, 120), (-2, -1.2, 1, 1.2), 60)
        skin = Image.merge(
            "RGB", [lines.point([part - value // 4 for value in range(256)]) for part in (198, 145, 112)]
        )
        image.paste(skin, (x, y))
        return image

    @pytest.mark.parametrize("x", [40, 400, 700])
    def test_the_box_is_where_there_is_something_to_see(self, x):
        image = self.with_a_face_at(x, 80)
        params = CropImageParams(aspect_ratio="1:1", smart=True)
        left, _, right, _ = crop_box(params, *image.size, partial(find_focus, image))
        assert left <= x
        assert x + 120 <= right
        assert cropped(saved(image, "PNG"), aspect_ratio="1:1", smart=True)[0].tobytes() == (
            image.crop((left, 0, right, 300)).tobytes()
        )

    def test_the_same_picture_has_the_same_focus(self):
        image = self.with_a_face_at(700, 80)
        assert find_focus(image, (300, 300)) == find_focus(image, (300, 300))

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
    @pytest.mark.parametrize("size", [(1, 1), (16_384, 1), (1, 5_000), (5, 3)])
    def test_there_is_a_focus_in_every_picture(self, mode, size):
        for box in ((1, 1), (size[0], 1), (2 * size[0], 1), size):
            assert all(0 <= share <= 100 for share in find_focus(Image.new(mode, size), box))
