"""The params of `crop_image`."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from shared.contracts.node_type import Params

PERCENT_TOLERANCE = 1e-6
MAX_OUTPUT_SIDE = 16_384
MAX_PADDING = 4_096
FARTHEST = 1_000_000  # of a coordinate; what is farther away is no place on any picture

_RATIO = r"^\d{1,5}(\.\d{1,5})?:\d{1,5}(\.\d{1,5})?$"


class Anchor(StrEnum):
    """Where in the picture a box lies that has a size and no place."""

    NORTH_WEST = "north_west"
    NORTH = "north"
    NORTH_EAST = "north_east"
    WEST = "west"
    CENTER = "center"
    EAST = "east"
    SOUTH_WEST = "south_west"
    SOUTH = "south"
    SOUTH_EAST = "south_east"


def _has_two_sides(ratio: str) -> str:
    if not all(float(side) for side in ratio.split(":")):
        raise ValueError("both sides of an aspect ratio are greater than 0: 16:9")
    return ratio


class CropImageParams(Params):
    """A box on the upright picture, and how it is given out. Without any params it is the whole picture as it is.

    The size of the box is `width` and `height` (percent of the picture's sides, or pixels), as far as the picture goes
    where they are missing. `aspect_ratio` ("16:9") gives the missing one of them, or makes the box the largest of that
    shape within both. Its place is `x` and `y`, the upper left corner; or `anchor`; or the point `focus_x`, `focus_y`
    (percent) that it is to have in its middle; or where there is most to see (`smart`). Otherwise a box with an aspect
    ratio lies in the middle, any other at the upper left.

    What reaches outside the picture is refused, cut off (`clamp`), or filled with `background` (`pad`). The result is
    scaled down to `max_width` and `max_height`, never up; within them, `padding` pixels of `background` surround it.
    `quality` is the format's own, from 1 to 100. docs/crop.md tells it all.
    """

    x: float | None = Field(default=None, ge=-FARTHEST, le=FARTHEST)
    y: float | None = Field(default=None, ge=-FARTHEST, le=FARTHEST)
    width: float | None = Field(default=None, gt=0, le=FARTHEST)
    height: float | None = Field(default=None, gt=0, le=FARTHEST)
    unit: Literal["percent", "px"] = "percent"
    aspect_ratio: Annotated[str, Field(pattern=_RATIO), AfterValidator(_has_two_sides)] | None = None
    anchor: Anchor | None = None
    focus_x: float | None = Field(default=None, ge=0, le=100)
    focus_y: float | None = Field(default=None, ge=0, le=100)
    smart: bool = False
    out_of_bounds: Literal["error", "clamp", "pad"] = "error"
    padding: int = Field(default=0, ge=0, le=MAX_PADDING)
    background: str = Field(default="white", pattern="^(white|black|transparent|#[0-9a-fA-F]{6})$")
    format: Literal["keep", "jpeg", "png", "webp", "avif"] = "keep"
    quality: int | None = Field(default=None, ge=1, le=100)
    max_width: int | None = Field(default=None, ge=1, le=MAX_OUTPUT_SIDE)
    max_height: int | None = Field(default=None, ge=1, le=MAX_OUTPUT_SIDE)

    @property
    def ratio(self) -> float | None:
        """Width divided by height, where an aspect ratio is asked for."""
        if self.aspect_ratio is None:
            return None
        width, height = map(float, self.aspect_ratio.split(":"))
        return width / height

    @property
    def is_placed(self) -> bool:
        """Whether something else than a corner says where the box lies."""
        return self.smart or self.anchor is not None or self.focus_x is not None

    @model_validator(mode="after")
    def _be_consistent(self) -> Self:
        problems = [*self._problems_of_place(), *self._problems_of_box(), *self._problems_of_output()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _problems_of_place(self) -> Iterator[str]:
        corner = self.x is not None or self.y is not None
        ways = {
            "x and y": corner,
            "anchor": self.anchor is not None,
            "focusX and focusY": self.focus_x is not None or self.focus_y is not None,
            "smart": self.smart,
        }
        given = [name for name, is_given in ways.items() if is_given]
        if len(given) > 1:
            yield f"{' and '.join(given)} each say where the box lies: give one of them"
        if (self.focus_x is None) != (self.focus_y is None):
            yield "a focus point has two coordinates: give focusX and focusY"
        if given and not corner and not (self.width or self.height or self.aspect_ratio):
            yield f"{given[0]} places a box that is smaller than the picture: give width, height or aspectRatio, too"

    def _problems_of_box(self) -> Iterator[str]:
        if self.out_of_bounds != "error":
            return
        x, y = self.x or 0, self.y or 0
        if min(x, y) < 0:
            yield "the box begins outside the picture: x and y are 0 at least, unless outOfBounds is clamp or pad"
        limit = 100 + PERCENT_TOLERANCE
        ends = (x + (self.width or 0), y + (self.height or 0))
        if self.unit == "percent" and max(ends) > limit:
            yield (
                "the box reaches outside the picture: x + width and y + height may be 100 at most, unless outOfBounds"
                " is clamp or pad"
            )

    def _problems_of_output(self) -> Iterator[str]:
        if self.format == "png" and self.quality is not None:
            yield "PNG is lossless: leave quality out, or choose another format"
        if self.format == "jpeg" and self.background == "transparent":
            yield "JPEG has no transparency: choose another background, or the format png or webp"
        limits = [limit for limit in (self.max_width, self.max_height) if limit]
        if limits and min(limits) <= 2 * self.padding:
            yield "the padding alone fills maxWidth or maxHeight: choose a smaller padding or a larger limit"
