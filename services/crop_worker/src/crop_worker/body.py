"""What a crop job does to a file. Blocking: run it in a thread."""

from crop_worker.domain.crop import crop
from shared.contracts.crop_params import CropImageParams
from shared.images import ImageInfo, encode, media_type, open_upright


def crop_bytes(data: bytes, params: CropImageParams) -> tuple[bytes, ImageInfo]:
    """Return the box cut out of the upright picture, encoded in the input's format, and what it is.

    Raises as `shared.images.inspect` and `crop_worker.domain.crop.crop_box` do.
    """
    part = crop(open_upright(data), params)
    form = media_type(data)
    return encode(part, form), ImageInfo(form, part.width, part.height)
