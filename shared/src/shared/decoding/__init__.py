"""Pictures are decoded in processes that can be killed, with limits on memory and processor time.

No picture can harm its neighbours, or the service that takes it: what it costs at most is a process.
"""

from shared.decoding.limits import Limits
from shared.decoding.picture import Picture, inspect_picture
from shared.decoding.pool import DecoderPool

__all__ = ["DecoderPool", "Limits", "Picture", "inspect_picture"]
