"""The bars that show how far a node has come. They differ in their characters, so that they need no colours; no I/O."""

from datetime import datetime

from cli.streamed import Streamed
from cli.words import seconds_between
from shared.contracts.queries import NodeView
from shared.contracts.states import NodeStatus

BAR_WIDTH = 10
WAITING, WORKING, PAUSING, REST = "░", "█", "·", "─"


def bar_of(node: NodeView, streamed: Streamed | None, timeout: float | None, now: datetime) -> str:
    """Return the bar of a node: queued, running (the share that is done, else of its timeout), or pausing."""
    match node.status:
        case NodeStatus.QUEUED:
            return WAITING * BAR_WIDTH
        case NodeStatus.RUNNING:
            share = _share_done(node, streamed, timeout, now)
            filled = 0 if share is None else max(1, round(min(share, 1.0) * BAR_WIDTH))
            return WORKING * filled + REST * (BAR_WIDTH - filled)
        case NodeStatus.RETRYING:
            return PAUSING * BAR_WIDTH
        case NodeStatus.SUCCESS:
            return WORKING * BAR_WIDTH
        case _:
            return ""


def time_of(node: NodeView, now: datetime) -> str:
    """Return how long a node took, has been running or queued, or when it is tried again."""
    match node.status:
        case NodeStatus.QUEUED:
            return _told("waits", seconds_between(node.queued_at, now))
        case NodeStatus.RUNNING:
            return _told("", seconds_between(node.started_at, now))
        case NodeStatus.RETRYING:
            return _told("in", seconds_between(now, node.retry_at))
        case _:
            return "" if node.seconds is None else f"{node.seconds:.2f} s"


def _share_done(node: NodeView, streamed: Streamed | None, timeout: float | None, now: datetime) -> float | None:
    if streamed and streamed.attempt == node.attempt and streamed.done is not None:
        return streamed.done
    elapsed = seconds_between(node.started_at, now)
    return elapsed / timeout if elapsed is not None and timeout else None


def _told(words: str, seconds: float | None) -> str:
    return "" if seconds is None else f"{words} {seconds:.1f} s".strip()
