"""Cutting a box out of an upright picture, and laying it out."""

from PIL import Image

from crop_worker.domain.box import Box

_SHRINKING_GAP = 3.0  # Pillow's advice for a result that cannot be told from one that is resampled at once


def cut(image: Image.Image, box: Box) -> Image.Image:
    """Return the part of the picture inside the box; a box around the whole picture takes the picture itself."""
    left, upper, right, lower = box
    inside = (max(left, 0), max(upper, 0), min(right, image.width), min(lower, image.height))
    return image if inside == (0, 0, *image.size) else image.crop(inside)


def reaches_outside(box: Box, image: Image.Image) -> bool:
    """Say whether some of the box is not on the picture."""
    left, upper, right, lower = box
    return min(left, upper) < 0 or right > image.width or lower > image.height


def shrunk_size(size: tuple[int, int], max_width: int | None, max_height: int | None) -> tuple[int, int]:
    """Return the largest size of the same shape within the limits, and at most the size itself; a pixel at least."""
    width, height = size
    scale = min(1.0, (max_width or width) / width, (max_height or height) / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def shrink(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return a picture in mode L, LA, RGB or RGBA scaled down to that size."""
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=_SHRINKING_GAP)


def lay_on(image: Image.Image, size: tuple[int, int], corner: tuple[int, int], background: str) -> Image.Image:
    """Return a canvas of that size and colour with an sRGB picture on it, its upper left corner there.

    What is transparent in the picture stays so.
    """
    clear = background == "transparent"
    mode = "RGBA" if clear or image.has_transparency_data else "RGB"
    canvas = Image.new(mode, size, (0, 0, 0, 0) if clear else background)
    canvas.paste(image if image.mode == mode else image.convert(mode), corner)
    return canvas
