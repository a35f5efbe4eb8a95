"""Whether the clocks of two machines agree."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from cli.doctor.findings import Findings

MOST_SECONDS = 2.0


def compare_clocks(whose: str, theirs: datetime, findings: Findings, *, coarse: bool = False) -> None:
    """Note how far the clock of `whose` is from ours; a `coarse` one tells whole seconds only."""
    difference = abs((datetime.now(UTC) - theirs).total_seconds())
    difference = max(0.0, difference - 1.0) if coarse else difference
    if difference > MOST_SECONDS:
        message = f"the clock of {whose} differs from this machine's by {difference:.1f} s"
        findings.warn(message, "let all machines take their time from one source (NTP)")
    else:
        findings.ok(f"the clock of {whose} agrees with this machine's")


def read_http_date(text: str | None) -> datetime | None:
    """Return the moment that a header `Date` tells; None if it tells none."""
    try:
        return parsedate_to_datetime(text).astimezone(UTC) if text else None
    except ValueError:
        return None
