"""What nodes and their states are called on the command line."""

from datetime import datetime

from cli.progress import RunProgress
from shared.contracts.queries import LateResult, NodeView
from shared.contracts.states import NodeStatus, RunStatus

STYLES = {
    NodeStatus.PENDING: "dim",
    NodeStatus.QUEUED: "cyan",
    NodeStatus.RUNNING: "bold blue",
    NodeStatus.RETRYING: "yellow",
    NodeStatus.SUCCESS: "green",
    NodeStatus.FAILED: "bold red",
    NodeStatus.SKIPPED: "magenta",
    NodeStatus.CANCELLED: "magenta",
}


def label(node: NodeView) -> str:
    """Return what people call the node."""
    return node.name or node.node_id


def status_of(node: NodeView) -> str:
    """Return the node's status, and whether an earlier output was reused."""
    return f"{node.status} (cached)" if node.cached else str(node.status)


def error_note(node: NodeView) -> str:
    """Return what went wrong with the node; nothing, if nothing did."""
    return f"{node.error.code}: {node.error.message}" if node.error else ""


def late_note(late: LateResult) -> str:
    """Return what is to be said of a result that came when its attempt had been given up."""
    return f"attempt {late.attempt} came too late ({late.outcome}), which changes nothing"


def waits_for_turn(progress: RunProgress) -> bool:
    """Tell whether the run was taken in, but waits for others with its concurrency key."""
    return progress.run.status is RunStatus.QUEUED and bool(progress.nodes)


def seconds_between(start: datetime | None, end: datetime | None) -> float | None:
    """Return the seconds from one moment to another; None if one of them is not known. Never negative."""
    return max(0.0, (end - start).total_seconds()) if start and end else None
