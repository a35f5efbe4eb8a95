"""What the offline stand-in measures in pictures."""

import pytest
from PIL import Image

from llm_worker.offline_model.measure import Box, ColourShare, measure

Size = tuple[int, int]

RED, BLUE = (255, 0, 0), (0, 0, 255)


def two_coloured(size: Size, box: Box, *, mode: str = "RGB"):
    picture = Image.new("RGB", size, RED)
    picture.paste(BLUE, box)
    return picture.convert(mode)


@pytest.mark.parametrize(
    ("size", "orientation"), [((30, 20), "landscape"), ((20, 30), "portrait"), ((20, 20), "square")]
)
def test_size_and_orientation(size: Size, orientation: str):
    seen = measure(Image.new("RGB", size))
    assert (seen.width, seen.height) == size
    assert seen.orientation == orientation


@pytest.mark.parametrize(
    ("grey", "word"),
    [(0, "very dark"), (52, "dark"), (128, "medium bright"), (200, "bright"), (255, "very bright")],
)
def test_brightness_is_the_mean_luma(grey: int, word: str):
    seen = measure(Image.new("RGB", (8, 8), (grey, grey, grey)))
    assert (seen.brightness, seen.brightness_word) == (grey, word)


def test_colours_are_named_with_their_shares_the_most_frequent_first():
    seen = measure(two_coloured((400, 100), (300, 0, 400, 100)))
    assert seen.colours == (ColourShare("red", 75), ColourShare("blue", 25))
    assert seen.average == "#bf0040"


def test_left_and_right_halves_are_told_apart():
    seen = measure(two_coloured((640, 480), (320, 0, 640, 480)))
    assert seen.contrast == "left half mostly red, right half mostly blue"


def test_top_and_bottom_halves_are_told_apart():
    seen = measure(two_coloured((480, 640), (0, 320, 480, 640)))
    assert seen.contrast == "top half mostly red, bottom half mostly blue"


def test_halves_of_one_name_may_differ_in_tone():
    picture = Image.new("RGB", (100, 100), (0, 255, 0))
    picture.paste((0, 128, 0), (0, 0, 50, 100))
    assert measure(picture).contrast == "the left and right halves differ in tone, both mostly green"


def test_an_even_picture_has_no_contrast():
    assert measure(Image.new("RGB", (100, 100), RED)).contrast is None


def test_a_single_pixel_can_be_measured():
    seen = measure(Image.new("RGB", (1, 1), "white"))
    assert seen.colours == (ColourShare("white", 100),)
    assert seen.contrast is None


def test_large_and_small_versions_of_a_picture_have_the_same_colours():
    small = measure(two_coloured((200, 100), (150, 0, 200, 100)))
    large = measure(two_coloured((2000, 1000), (1500, 0, 2000, 1000)))
    assert small.colours == large.colours


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK"])
def test_every_colour_mode_gives_the_same_colours(mode: str):
    seen = measure(two_coloured((100, 100), (60, 0, 100, 100), mode=mode))
    assert [share.name for share in seen.colours] == ["red", "blue"]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16"])
def test_grey_modes_are_measured(mode: str):
    picture = Image.new(mode, (100, 100), 65_535 if mode == "I;16" else "white")
    assert measure(picture).colours == (ColourShare("white", 100),)


def test_sixteen_bits_are_scaled_and_not_clipped():
    assert measure(Image.new("I;16", (10, 10), 32_768)).brightness == 128


def test_transparent_parts_count_as_white():
    picture = Image.new("RGBA", (100, 100), (255, 0, 0, 255))
    picture.paste((0, 0, 0, 0), (0, 0, 100, 25))
    assert measure(picture).colours == (ColourShare("red", 75), ColourShare("white", 25))


def test_the_same_picture_gives_the_same_measurement_and_is_left_alone():
    picture = two_coloured((300, 200), (0, 0, 10, 10))
    before = picture.tobytes()
    assert measure(picture) == measure(picture)
    assert picture.tobytes() == before
