"""The one way in which these tests wait for what must come about and tells nobody."""

import time
from collections.abc import Callable

from tests.e2e.system import PATIENCE

POLL_SECONDS = 0.2


def until(holds: Callable[[], bool], *, within: float = 3 * PATIENCE) -> None:
    """Return as soon as something holds; fail if it does not `within` that many seconds."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "it has not come about"
        time.sleep(POLL_SECONDS)
