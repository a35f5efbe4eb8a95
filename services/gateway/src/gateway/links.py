"""Links to pictures that work for a while, for whoever has them: a browser can follow them without a key."""

import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from urllib.parse import urlencode

from gateway.pictures import PictureSize
from shared.contracts.errors import InvalidInputError, invalid

MAX_SECONDS = 15 * 60  # for which a link works
_STEP_SECONDS = 5 * 60  # links of the same time are the same, so that caches know them again
PATH = "/assets"


class Links:
    """Makes and checks links, signed with HMAC-SHA256.

    The first secret signs; what any of them signed is believed, so that secrets can be changed without breaking links.
    `now` gives seconds since 1970.
    """

    def __init__(self, secrets: Sequence[str], now: Callable[[], float] = time.time) -> None:
        self._secrets = [secret.encode() for secret in secrets]
        self._now = now

    def sign(self, name: str, size: PictureSize) -> str:
        """Return the path and query of a link to a picture, which works for 10 to 15 minutes."""
        expires = (int(self._now()) // _STEP_SECONDS) * _STEP_SECONDS + MAX_SECONDS
        signature = _signature(self._secrets[0], name, size, expires)
        return f"{PATH}/{name}?{urlencode({'size': size, 'expires': expires, 'signature': signature})}"

    def check(self, name: str, size: PictureSize, expires: int, signature: str) -> int:
        """Return for how many seconds the link works yet; raise `link_not_valid`."""
        left = expires - int(self._now())
        expected = [_signature(secret, name, size, expires) for secret in self._secrets]
        # All are compared, whichever fits: the time it takes tells nothing.
        fits = [hmac.compare_digest(one.encode(), signature.encode()) for one in expected]
        if not any(fits):
            raise _not_valid("the link was changed, or signed with a secret that is no longer in use")
        if not 0 < left <= MAX_SECONDS:
            raise _not_valid("the link has expired")
        return left


def _signature(secret: bytes, name: str, size: str, expires: int) -> str:
    digest = hmac.new(secret, f"{name}\n{size}\n{expires}".encode(), sha256).digest()
    return urlsafe_b64encode(digest).decode().rstrip("=")


def _not_valid(message: str) -> InvalidInputError:
    return invalid("link_not_valid", message, where="query.signature", fix="ask for the run, or the upload, again")
