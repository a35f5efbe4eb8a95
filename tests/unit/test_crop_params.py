"""What the params of a crop mean: where the box lies, how large the result is, what contradicts itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from crop_worker.domain.box import crop_box
from shared.contracts.crop_params import Anchor, CropImageParams
from shared.contracts.errors import InvalidInputError
from shared.contracts.node_types import REGISTRY

SIDES = st.integers(1, 16_384)


def box(width=200, height=100, /, find_focus=None, **params):
    return crop_box(CropImageParams(**params), width, height, find_focus)


def code(width=200, height=100, /, **params):
    with pytest.raises(InvalidInputError) as caught:
        box(width, height, **params)
    return caught.value.code


class TestPlace:
    @pytest.mark.parametrize(
        ("params", "expected"),
        [
            ({}, (0, 0, 200, 100)),
            ({"width": 50}, (0, 0, 100, 100)),
            ({"x": 50}, (100, 0, 200, 100)),
            ({"x": 150, "y": 20, "unit": "px"}, (150, 20, 200, 100)),
            ({"width": 20, "height": 20, "unit": "px", "focus_x": 50, "focus_y": 50}, (90, 40, 110, 60)),
            ({"width": 20, "height": 20, "unit": "px", "focus_x": 0, "focus_y": 100}, (0, 80, 20, 100)),
            ({"width": 50, "anchor": "east"}, (100, 0, 200, 100)),
            ({"aspect_ratio": "1:1"}, (50, 0, 150, 100)),
            ({"aspect_ratio": "4:1"}, (0, 25, 200, 75)),
            ({"aspect_ratio": "1:1", "anchor": "north_west"}, (0, 0, 100, 100)),
            ({"aspect_ratio": "1:1", "focus_x": 100, "focus_y": 50}, (100, 0, 200, 100)),
            ({"aspect_ratio": "2:1", "width": 100, "unit": "px"}, (50, 25, 150, 75)),
            ({"aspect_ratio": "2:1", "height": 50, "unit": "px"}, (50, 25, 150, 75)),
            ({"aspect_ratio": "1:1", "width": 50, "height": 50}, (75, 25, 125, 75)),
            ({"aspect_ratio": "1:1", "x": 10, "y": 10, "width": 30, "unit": "px"}, (10, 10, 40, 40)),
            ({"aspect_ratio": "1.5:1", "width": 30, "unit": "px", "x": 0}, (0, 0, 30, 20)),
        ],
    )
    def test_the_box(self, params, expected):
        assert box(**params) == expected

    @pytest.mark.parametrize(
        ("anchor", "corner"),
        [
            ("north_west", (0, 0)),
            ("north", (90, 0)),
            ("north_east", (180, 0)),
            ("west", (0, 45)),
            ("center", (90, 45)),
            ("east", (180, 45)),
            ("south_west", (0, 90)),
            ("south", (90, 90)),
            ("south_east", (180, 90)),
        ],
    )
    def test_anchors(self, anchor, corner):
        assert box(anchor=anchor, width=20, height=10, unit="px")[:2] == corner

    def test_a_smart_box_has_what_was_found_in_its_middle(self):
        asked = []

        def find_focus(size):
            asked.append(size)
            return 75.0, 50.0

        assert box(find_focus=find_focus, smart=True, aspect_ratio="1:2") == (125, 0, 175, 100)
        assert asked == [(50, 100)]

    @given(width=SIDES, height=SIDES, ratio=st.tuples(st.integers(1, 99), st.integers(1, 99)))
    def test_the_largest_box_of_a_ratio_is_inside_and_touches_two_edges(self, width, height, ratio):
        left, upper, right, lower = box(width, height, aspect_ratio=f"{ratio[0]}:{ratio[1]}")
        assert 0 <= left < right <= width
        assert 0 <= upper < lower <= height
        assert right - left == width or lower - upper == height

    @given(width=SIDES, height=SIDES, anchor=st.sampled_from(Anchor), share=st.floats(0.01, 100))
    def test_anchored_boxes_are_inside(self, width, height, anchor, share):
        left, upper, right, lower = box(width, height, anchor=anchor, width=share, height=share)
        assert 0 <= left < right <= width
        assert 0 <= upper < lower <= height

    @given(width=SIDES, height=SIDES, x=st.floats(0, 100), y=st.floats(0, 100), share=st.floats(0.01, 100))
    def test_focused_boxes_are_inside(self, width, height, x, y, share):
        left, upper, right, lower = box(width, height, focus_x=x, focus_y=y, width=share, height=share)
        assert 0 <= left < right <= width
        assert 0 <= upper < lower <= height


class TestOutOfBounds:
    @pytest.mark.parametrize(
        ("policy", "params", "expected"),
        [
            ("clamp", {"x": -10, "width": 30}, (0, 0, 40, 100)),
            ("clamp", {"x": 190, "width": 30, "unit": "px"}, (190, 0, 200, 100)),
            ("clamp", {"width": 300, "height": 40, "unit": "px", "anchor": "center"}, (0, 30, 200, 70)),
            ("pad", {"x": -10, "width": 30}, (-20, 0, 40, 100)),
            ("pad", {"x": 190, "width": 30, "unit": "px"}, (190, 0, 220, 100)),
            ("pad", {"width": 300, "height": 40, "unit": "px", "anchor": "center"}, (-50, 30, 250, 70)),
            ("pad", {"width": 300, "aspect_ratio": "1:1", "unit": "px"}, (-50, -100, 250, 200)),
            ("pad", {"width": 300, "height": 10, "unit": "px", "focus_x": 0, "focus_y": 0}, (-50, 0, 250, 10)),
        ],
    )
    def test_policies(self, policy, params, expected):
        assert box(out_of_bounds=policy, **params) == expected

    @pytest.mark.parametrize(
        "params",
        [
            {"width": 300, "unit": "px", "anchor": "center"},
            {"width": 300, "aspect_ratio": "1:1", "unit": "px"},
            {"x": 180, "width": 30, "height": 1, "aspect_ratio": "30:1", "unit": "px"},
            {"x": 300, "width": 10, "unit": "px", "out_of_bounds": "clamp"},
            {"x": 300, "width": 10, "unit": "px", "out_of_bounds": "pad"},
            {"x": -30, "width": 30, "unit": "px", "out_of_bounds": "pad"},
            {"x": 300, "unit": "px", "aspect_ratio": "1:1", "out_of_bounds": "pad"},
            {"x": 0, "width": 17_000, "unit": "px", "out_of_bounds": "pad"},
            {"width": 5000, "height": 12_000, "out_of_bounds": "pad"},
            {"x": -1e6, "width": 1e6, "height": 1e6, "out_of_bounds": "pad"},
        ],
    )
    def test_what_is_no_box_of_the_picture_is_refused(self, params):
        assert code(**params) == "invalid_crop"


class TestContradictions:
    @pytest.mark.parametrize(
        ("params", "told"),
        [
            ({"x": 1, "anchor": "north", "width": 9}, "x and y and anchor each say where the box lies: give one of"),
            ({"smart": True, "focus_x": 1, "focus_y": 1, "width": 9}, "focusX and focusY and smart each say"),
            ({"focus_x": 1, "width": 9}, "give focusX and focusY"),
            ({"smart": True}, "smart places a box that is smaller than the picture: give width, height or aspectRatio"),
            ({"anchor": "north"}, "anchor places a box"),
            ({"x": -1}, "unless outOfBounds is clamp or pad"),
            ({"x": 60, "width": 60}, "may be 100 at most, unless outOfBounds is clamp or pad"),
            ({"format": "png", "quality": 50}, "leave quality out"),
            ({"format": "jpeg", "background": "transparent"}, "choose another background, or the format png or webp"),
            ({"padding": 10, "max_width": 20}, "choose a smaller padding or a larger limit"),
            ({"aspect_ratio": "0:1"}, "greater than 0"),
            ({"aspect_ratio": "wide"}, "pattern"),
            ({"background": "url(x)"}, "pattern"),
            ({"quality": 0}, "greater than or equal to 1"),
        ],
    )
    def test_are_refused_with_what_to_do(self, params, told):
        with pytest.raises(ValidationError) as caught:
            CropImageParams(**params)
        assert told in str(caught.value)

    def test_all_are_told_at_once(self):
        with pytest.raises(ValidationError) as caught:
            CropImageParams(smart=True, focus_x=1, format="png", quality=3)
        assert all(told in str(caught.value) for told in ("each say", "give focusX and focusY", "leave quality out"))


def test_saved_graphs_mean_what_they_meant():
    crop = REGISTRY["crop_image"]
    assert crop.version == 2
    for params in ({}, {"x": 0, "y": 0, "width": 100, "height": 100, "unit": "percent"}):
        read = crop.read_params(params)
        assert isinstance(read, CropImageParams)
        assert crop_box(read, 200, 100) == (0, 0, 200, 100)
