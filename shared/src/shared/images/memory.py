"""Want of memory, however a codec tells it."""

from collections.abc import Generator
from contextlib import contextmanager

# libwebp's VP8_ENC_ERROR_OUT_OF_MEMORY and VP8_ENC_ERROR_BITSTREAM_OUT_OF_MEMORY, of which Pillow tells the number.
_WEBP_NUMBERS = ("encoding error 1", "encoding error 2")


@contextmanager
def memory_errors() -> Generator[None]:
    """Raise MemoryError for what codecs raise inside for want of memory; their wording is the only sign of it."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as err:
        message = str(err).lower()
        if "out of memory" in message or message.startswith(_WEBP_NUMBERS):
            raise MemoryError from err
        raise
