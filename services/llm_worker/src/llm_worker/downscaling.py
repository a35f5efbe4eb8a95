"""A picture made small enough for a model; blocking, for the processes that decode pictures."""

from PIL import Image

from shared.decoding import Picture
from shared.images import ImageInfo, encode, open_upright
from shared.images.colours import expand

FORMAT = "image/jpeg"
_SMALLEST_SIDE = 64
_GAP = 2  # so many times more pixels than needed are decoded, that what is thrown away is not seen


def downscale(data: bytes, *, side: int, max_bytes: int) -> Picture:
    """Return a picture as JPEG, its longer side at most `side` pixels, in at most `max_bytes`.

    It is upright, sRGB, flattened on white, without metadata, and never enlarged. Where its bytes are too many it is
    made smaller by halves, down to 64 pixels. Raises the errors of pictures.
    """
    image = expand(open_upright(data, enough=_GAP * side))
    while True:
        image.thumbnail((side, side), Image.Resampling.BICUBIC)
        jpeg = encode(image, FORMAT)
        if len(jpeg) <= max_bytes or side <= _SMALLEST_SIDE:
            return Picture(jpeg, ImageInfo(FORMAT, image.width, image.height))
        side //= 2
