"""Times as people write them: `90d`, `12h`, or a date."""

import re
from datetime import UTC, datetime, timedelta

from shared.contracts.errors import InvalidInputError, invalid

MAX_AMOUNT = 36_500
_AGE = re.compile(r"(\d{1,5})([mhdw])")
_UNITS = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}


def read_age(text: str, option: str) -> timedelta:
    """Return how long `90d`, `12h`, `30m` or `2w` is; raise `invalid_option` where a text is none of these."""
    match = _AGE.fullmatch(text)
    age = int(match[1]) * _UNITS[match[2]] if match else None
    if age is None or age > timedelta(days=MAX_AMOUNT):
        raise _invalid(text, option, "write a number with m, h, d or w behind it: 90d")
    return age


def read_moment(text: str, option: str) -> datetime:
    """Return the moment that was so long ago, or that a date says (of the local time zone, if it names none)."""
    if _AGE.fullmatch(text):
        return datetime.now(UTC) - read_age(text, option)
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as err:
        raise _invalid(text, option, "write an age (7d, 12h) or a date (2026-01-31, 2026-01-31T12:00)") from err


def _invalid(text: str, option: str, fix: str) -> InvalidInputError:
    return invalid("invalid_option", f"{text!r} is no time that is understood", where=option, fix=fix)
