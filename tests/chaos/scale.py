"""How much of each fault is tried: all that `make chaos` has time for, or a short form in every run of the tests.

Faults are repeated for so many seconds, not so many times: `make chaos` ends in time on any machine, and says how often
it was. WEFT_CHAOS_FACTOR makes that time longer.
"""

import os
import time
from collections.abc import Iterator
from itertools import count
from typing import TypeVar

T = TypeVar("T")

FACTOR = float(os.environ.get("WEFT_CHAOS_FACTOR", "1"))


def is_full() -> bool:
    """Tell whether the full scale was asked for."""
    return os.environ.get("WEFT_CHAOS") == "full"


def scaled(*, full: T, short: T) -> T:
    """Return what belongs to the scale that was asked for."""
    return full if is_full() else short


def repeated(*, full: float, short: int) -> Iterator[int]:
    """Count, for `full` seconds (times the factor) at full scale, else `short` times."""
    ending = time.monotonic() + full * FACTOR
    for number in count(1):
        yield number
        if time.monotonic() > ending if is_full() else number >= short:
            return
