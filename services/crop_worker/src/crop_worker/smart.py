"""Where in a picture there is most to see. Nothing else imports smartcrop, and numpy with it."""

import os
from typing import Any

# Before numpy is imported: its threads take address space, of which a decoding process has little.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from PIL import Image
from smartcrop import SmartCrop

from shared.images import flatten, to_srgb

_SIDE = 256  # pixels; what the picture is looked at in
_SMALLEST = 16  # pixels; the least of a window and of a picture in which smartcrop finds features
_STEP = 4  # pixels between the windows that are compared


def find_focus(image: Image.Image, size: tuple[int, int]) -> tuple[float, float]:
    """Return the middle of the window of that size that shows most of skin, edges and colours; percent of the sides.

    The same picture has the same focus each time. One that shows nothing is looked at in its middle.
    """
    if size[0] >= image.width and size[1] >= image.height:
        return 50.0, 50.0
    small = _reduced(image)
    window = tuple(
        min(max(round(length * pixels / whole), _SMALLEST), pixels)
        for length, pixels, whole in zip(size, small.size, image.size, strict=True)
    )
    cropper: Any = SmartCrop()  # typed in part: its results are dicts of anything
    found = cropper.analyse(small, *window, min_scale=1, num_scale_steps=1, step=_STEP)["top_crop"]
    x, y, width, height = (int(found[name]) for name in ("x", "y", "width", "height"))
    return 100 * (x + width / 2) / small.width, 100 * (y + height / 2) / small.height


def _reduced(image: Image.Image) -> Image.Image:
    scale = min(1.0, _SIDE / max(image.size))
    size = (max(_SMALLEST, round(image.width * scale)), max(_SMALLEST, round(image.height * scale)))
    source = image if image.mode in ("L", "RGB") else flatten(to_srgb(image))
    return source.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0).convert("RGB")
