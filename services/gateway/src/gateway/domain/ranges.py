"""Which part of a file a client asks for, as RFC 9110 says it in `Range`."""

import re

_ONE_RANGE = re.compile(r"bytes=(?P<first>\d{0,18})-(?P<last>\d{0,18})")


def wanted_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the part from the first byte to before the last; None where all is to be sent, as for several parts.

    Raises ValueError where there is no such part.
    """
    match = _ONE_RANGE.fullmatch(header.strip()) if header else None
    if match is None or not (match["first"] or match["last"]):
        return None
    if not match["first"]:
        start, end = max(0, size - int(match["last"])), size
    else:
        start, end = int(match["first"]), min(size, int(match["last"] or size - 1) + 1)
        if match["last"] and int(match["last"]) < start:
            return None  # not a range at all, and so to be ignored
    if start >= size or start >= end:
        raise ValueError("there is no such part")
    return start, end
