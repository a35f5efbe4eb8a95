"""Pictures in and out: what is accepted, how it is opened upright, how it is encoded.

Accepted are JPEG, PNG, WebP and GIF, and AVIF where Pillow was built with it, recognised by content. Everything here is
blocking and holds the decoded picture in memory (four bytes per pixel and copy at most), so it belongs in a process of
its own: see `shared.decoding`. What a person may want to know of a picture that is taken all the same goes to `warn`.
"""

from shared.images.colours import BACKGROUND, flatten, to_srgb
from shared.images.decoding import inspect, open_upright
from shared.images.encoding import downscaled_data_uri, encode
from shared.images.formats import (
    AVIF,
    AVIF_QUALITY,
    FORMATS,
    MAX_PIXELS,
    MAX_SIDE,
    MEDIA_TYPES,
    QUALITY,
    ImageInfo,
    media_type,
)
from shared.images.warn import Warn, Warnings

__all__ = [
    "AVIF",
    "AVIF_QUALITY",
    "BACKGROUND",
    "FORMATS",
    "MAX_PIXELS",
    "MAX_SIDE",
    "MEDIA_TYPES",
    "QUALITY",
    "ImageInfo",
    "Warn",
    "Warnings",
    "downscaled_data_uri",
    "encode",
    "flatten",
    "inspect",
    "media_type",
    "open_upright",
    "to_srgb",
]
