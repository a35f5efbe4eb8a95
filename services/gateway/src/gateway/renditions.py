"""Pictures made of others, to be shown: what a decoding process is given to do."""

import base64

from shared.decoding import Picture
from shared.images import ImageInfo, downscaled_data_uri, encode, inspect, media_type, open_upright


def encoded_anew(data: bytes) -> Picture:
    """Return a picture of the same size and format, without what else the file held."""
    image = open_upright(data)
    kind = media_type(data)
    return Picture(encode(image, kind), ImageInfo(kind, *image.size))


def downscaled(data: bytes, max_side: int) -> Picture:
    """Return a JPEG whose longer side has that many pixels at most."""
    smaller = base64.b64decode(downscaled_data_uri(data, max_side=max_side).partition(",")[2])
    return Picture(smaller, inspect(smaller))
