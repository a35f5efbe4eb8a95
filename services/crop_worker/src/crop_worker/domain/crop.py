"""Cutting a box out of an upright picture."""

import math

from PIL import Image

from shared.contracts.crop_params import PERCENT_TOLERANCE, CropImageParams
from shared.contracts.errors import InvalidInputError, invalid

Box = tuple[int, int, int, int]
_DECIMALS = 6  # of a pixel; hides the rounding errors of x + width before an edge is rounded


def crop(image: Image.Image, params: CropImageParams) -> Image.Image:
    """Return the part of the upright picture inside the box; raises as `crop_box` does."""
    return image.crop(crop_box(params, image.width, image.height))


def crop_box(params: CropImageParams, width: int, height: int) -> Box:
    """Return the box in pixels of a picture of that size: left, upper, right, lower; the last two outside.

    Each edge goes to the nearest pixel edge (halves go up), so boxes that share an edge neither overlap nor
    leave a gap; a box thinner than a pixel becomes one pixel. Raises `invalid_crop` if the box reaches
    outside the picture or is empty.
    """
    columns = _span(params.x, params.width, width, params.unit)
    rows = _span(params.y, params.height, height, params.unit)
    if columns is None or rows is None:
        raise _outside(params, width, height)
    return columns[0], rows[0], columns[1], rows[1]


def _span(start: float, length: float, pixels: int, unit: str) -> tuple[int, int] | None:
    """Return where a side starts and ends, in whole pixels; None if it is empty or leaves the picture."""
    limit = 100 if unit == "percent" else pixels
    end = start + length
    # Said this way round, not-a-number is refused too.
    if not (0 <= start < limit and length > 0 and end <= limit + PERCENT_TOLERANCE):
        return None
    first = min(_nearest(start * pixels / limit), pixels - 1)
    last = min(_nearest(end * pixels / limit), pixels)
    return first, max(last, first + 1)


def _nearest(edge: float) -> int:
    return math.floor(round(edge, _DECIMALS) + 0.5)


def _outside(params: CropImageParams, width: int, height: int) -> InvalidInputError:
    unit = "%" if params.unit == "percent" else "px"
    asked = f"x {params.x:g}{unit}, y {params.y:g}{unit}, {params.width:g}{unit} x {params.height:g}{unit}"
    return invalid(
        "invalid_crop",
        f"the box ({asked}) is empty or reaches outside the picture, which has {width} x {height} pixels",
        fix="choose a box inside the picture",
    )
