"""Where the box of a crop lies, in pixels of the upright picture."""

import math
from collections.abc import Callable

from shared.contracts.crop_params import PERCENT_TOLERANCE, Anchor, CropImageParams
from shared.contracts.errors import InvalidInputError, invalid

MAX_BOX_PIXELS = 50_000_000  # what a box that reaches outside may have, as what is uploaded may
MAX_BOX_SIDE = 16_384

Size = tuple[int, int]
Box = tuple[int, int, int, int]  # left, upper, right, lower; the last two outside
Point = tuple[float, float]  # percent of the picture's sides
FindFocus = Callable[[Size], Point]
_Span = tuple[int, int]
_DECIMALS = 6  # of a pixel; hides the rounding errors of x + width before an edge is rounded
_SHARES = {"west": 0.0, "east": 1.0, "north": 0.0, "south": 1.0}  # of the room beside the box that lies before it


def crop_box(params: CropImageParams, width: int, height: int, find_focus: FindFocus | None = None) -> Box:
    """Return the box in a picture of that size; with `pad` it may reach outside.

    Each edge goes to the nearest pixel edge (halves go up), so boxes that share an edge neither overlap nor leave a
    gap; a box thinner than a pixel becomes one pixel. `find_focus` is asked for the place of a smart crop of a size.
    Raises `invalid_crop` if the box has no pixel of the picture, reaches outside where it must not, or is too large.
    """
    spans = _spans(params, (width, height), find_focus)
    if spans is None:
        raise _outside(params, width, height)
    (left, right), (upper, lower) = spans
    if params.out_of_bounds == "clamp":
        left, upper, right, lower = max(left, 0), max(upper, 0), min(right, width), min(lower, height)
    if left >= min(right, width) or upper >= min(lower, height) or right <= 0 or lower <= 0:
        raise _outside(params, width, height)
    if params.out_of_bounds == "error" and (min(left, upper) < 0 or right > width or lower > height):
        raise _outside(params, width, height)
    if params.out_of_bounds == "pad":
        _check_size(right - left, lower - upper)
    return left, upper, right, lower


def _spans(params: CropImageParams, picture: Size, find_focus: FindFocus | None) -> tuple[_Span, _Span] | None:
    """Return where the box starts and ends in both directions; None if there is no such place."""
    if params.ratio is None and not params.is_placed:
        columns = _edges(params.x or 0, params.width, picture[0], params)
        rows = _edges(params.y or 0, params.height, picture[1], params)
        return None if columns is None or rows is None else (columns, rows)
    size = _size(params, picture)
    if size is None:
        return None
    left, upper = _corner(params, picture, size, find_focus)
    return (left, left + size[0]), (upper, upper + size[1])


def _edges(start: float, length: float | None, pixels: int, params: CropImageParams) -> _Span | None:
    """Return the edges of a plain box in one direction; None if they are no numbers, or outside where they may not."""
    limit = 100 if params.unit == "percent" else pixels
    end = limit if length is None else start + length
    if not (math.isfinite(end) and end >= start and (length is None or length > 0)):
        return None
    if params.out_of_bounds == "error":
        if not (0 <= start < limit and end <= limit + PERCENT_TOLERANCE):
            return None
        first = min(_nearest(start * pixels / limit), pixels - 1)
        return first, max(min(_nearest(end * pixels / limit), pixels), first + 1)
    first = _nearest(start * pixels / limit)
    return first, max(_nearest(end * pixels / limit), first + 1)


def _size(params: CropImageParams, picture: Size) -> Size | None:
    """Return the size of a box that has an aspect ratio, or that is to be placed."""
    width = _length(params.width, params.x, picture[0], params.unit)
    height = _length(params.height, params.y, picture[1], params.unit)
    ratio = params.ratio
    if ratio and params.width and not params.height:
        height = width / ratio
    elif ratio and params.height and not params.width:
        width = height * ratio
    elif ratio:
        width, height = min(width, height * ratio), min(height, width / ratio)
    if not (0 < width < math.inf and 0 < height < math.inf):
        return None
    return max(1, _nearest(width)), max(1, _nearest(height))


def _length(length: float | None, start: float | None, pixels: int, unit: str) -> float:
    """Return a side's length in pixels: what is asked for, else as far as the picture goes."""
    per_unit = pixels / 100 if unit == "percent" else 1
    return length * per_unit if length else pixels - (start or 0) * per_unit


def _corner(params: CropImageParams, picture: Size, size: Size, find_focus: FindFocus | None) -> tuple[int, int]:
    """Return the upper left corner of a box of that size."""
    if params.x is not None or params.y is not None:
        per_x, per_y = (picture[0] / 100, picture[1] / 100) if params.unit == "percent" else (1, 1)
        return _nearest((params.x or 0) * per_x), _nearest((params.y or 0) * per_y)
    focus = (params.focus_x, params.focus_y)
    if params.smart:
        assert find_focus, "who crops smartly says how"
        focus = find_focus(size)
    if focus[0] is not None and focus[1] is not None:
        return _around(focus[0], picture[0], size[0]), _around(focus[1], picture[1], size[1])
    across, down = _shares(params.anchor or Anchor.CENTER)
    return _nearest((picture[0] - size[0]) * across), _nearest((picture[1] - size[1]) * down)


def _around(focus: float, pixels: int, length: int) -> int:
    """Return where a side starts that has the focus in its middle, as far as it stays inside."""
    if length >= pixels:
        return _nearest((pixels - length) / 2)
    return min(max(_nearest(focus * pixels / 100 - length / 2), 0), pixels - length)


def _shares(anchor: Anchor) -> tuple[float, float]:
    words = anchor.value.split("_")
    across = next((_SHARES[word] for word in words if word in ("west", "east")), 0.5)
    down = next((_SHARES[word] for word in words if word in ("north", "south")), 0.5)
    return across, down


def _nearest(edge: float) -> int:
    return math.floor(round(edge, _DECIMALS) + 0.5)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_BOX_PIXELS or max(width, height) > MAX_BOX_SIDE:
        raise invalid(
            "invalid_crop",
            f"the box has {width} x {height} pixels",
            fix=f"choose a box of at most {MAX_BOX_PIXELS:,} pixels, and {MAX_BOX_SIDE:,} on a side",
        )


def _outside(params: CropImageParams, width: int, height: int) -> InvalidInputError:
    given = params.model_dump(exclude_defaults=True, include={"x", "y", "width", "height", "unit", "aspect_ratio"})
    asked = ", ".join(f"{name} {value:g}" if isinstance(value, float) else str(value) for name, value in given.items())
    return invalid(
        "invalid_crop",
        f"the box ({asked or 'of that size'}) is empty or reaches outside the picture, which has {width} x {height}"
        " pixels",
        fix="choose a box inside the picture, or say with outOfBounds that it is to be clamped or padded",
    )
