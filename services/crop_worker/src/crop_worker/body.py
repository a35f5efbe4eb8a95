"""What a crop job does to a file. Blocking, and at the mercy of the file: run it in a decoding process."""

from PIL import Image

from crop_worker.domain.box import Box, Size, crop_box
from crop_worker.domain.crop import cut, lay_on, reaches_outside, shrink, shrunk_size
from shared.contracts.crop_params import CropImageParams
from shared.decoding import Picture
from shared.images import BACKGROUND, ImageInfo, Warn, Warnings, encode, media_type, open_upright, to_srgb

# A GIF's first frame is kept as PNG, which holds all that it can show, and padding and scaled colours besides.
_KEPT_AS = {"image/gif": "image/png"}


def crop_picture(data: bytes, params: CropImageParams) -> Picture:
    """Return the box cut out of the upright picture, laid out and encoded as the params say.

    Equal input gives equal bytes. Raises as `shared.images.inspect`, `shared.images.encode` and
    `crop_worker.domain.box.crop_box` do.
    """
    warnings = Warnings()
    form = _output_type(media_type(data), params)
    image = _laid_out(_cropped(data, params, warnings), params)
    background = BACKGROUND if params.background == "transparent" else params.background
    encoded = encode(image, form, quality=params.quality, background=background, warn=warnings)
    return Picture(encoded, ImageInfo(form, image.width, image.height), warnings.all())


def _output_type(input_type: str, params: CropImageParams) -> str:
    return _KEPT_AS.get(input_type, input_type) if params.format == "keep" else f"image/{params.format}"


def _cropped(data: bytes, params: CropImageParams, warn: Warn) -> Image.Image:
    """Return the box; in sRGB if colours are going to be added to it, or to be mixed."""
    image = open_upright(data, warn)
    box = _box(image, params)
    outside = reaches_outside(box, image)
    part = cut(image, box)
    del image  # before a second copy of it is made
    size = (box[2] - box[0], box[3] - box[1])
    if outside or params.padding or _inner_size(size, params) != size:
        part = to_srgb(part, warn)
    return lay_on(part, size, _offset(box), params.background) if outside else part


def _box(image: Image.Image, params: CropImageParams) -> Box:
    return crop_box(params, *image.size, lambda size: _find_focus(image, size))


def _laid_out(part: Image.Image, params: CropImageParams) -> Image.Image:
    inner = _inner_size(part.size, params)
    if inner != part.size:
        part = shrink(part, inner)
    if not params.padding:
        return part
    size = (part.width + 2 * params.padding, part.height + 2 * params.padding)
    return lay_on(part, size, (params.padding, params.padding), params.background)


def _inner_size(size: Size, params: CropImageParams) -> Size:
    """Return what a box of that size is scaled down to, so that it fits with its padding."""
    room = [limit and limit - 2 * params.padding for limit in (params.max_width, params.max_height)]
    return shrunk_size(size, *room)


def _offset(box: Box) -> tuple[int, int]:
    """Return where the part of the box that is on the picture begins in the box."""
    return max(-box[0], 0), max(-box[1], 0)


def _find_focus(image: Image.Image, size: Size) -> tuple[float, float]:
    from crop_worker.smart import find_focus  # noqa: PLC0415 - the service itself needs neither it nor numpy

    return find_focus(image, size)
