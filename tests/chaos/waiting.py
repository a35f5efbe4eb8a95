"""The one way in which the fault tests wait for what must come about."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from aio_pika.exceptions import AMQPError

from shared.contracts.errors import UnavailableError

POLL_SECONDS = 0.05
# While servers are down nothing can be seen; that is no answer, and the deadline holds all the same.
_NOTHING_TO_SEE = (UnavailableError, AMQPError, OSError, RuntimeError)


async def eventually(what: str, holds: Callable[[], Awaitable[bool]], *, within: float) -> float:
    """Return, with the seconds it took, as soon as something holds; fail if it does not `within` that many seconds."""
    started = time.monotonic()
    unseen: Exception | None = None
    while time.monotonic() - started < within:
        try:
            if await holds():
                return time.monotonic() - started
            unseen = None
        except _NOTHING_TO_SEE as err:
            unseen = err
        await asyncio.sleep(POLL_SECONDS)
    raise AssertionError(f"after {within:g} s not yet: {what}") from unseen
