"""The states of nodes and runs, and the one table of transitions between them."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType


class NodeStatus(StrEnum):
    """What a node of a run is doing."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class RunStatus(StrEnum):
    """What a run is doing."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"


# A source or a response goes from pending to its end at once, since no worker is asked. A result may overtake the
# event that says its node was started, so whatever follows `running` may also follow `queued`.
NODE_TRANSITIONS: Mapping[NodeStatus, frozenset[NodeStatus]] = MappingProxyType(
    {
        NodeStatus.PENDING: frozenset(
            {
                NodeStatus.QUEUED,
                NodeStatus.SUCCESS,
                NodeStatus.FAILED,
                NodeStatus.SKIPPED,
                NodeStatus.CANCELLED,
            }
        ),
        NodeStatus.QUEUED: frozenset(
            {
                NodeStatus.RUNNING,
                NodeStatus.RETRYING,
                NodeStatus.SUCCESS,
                NodeStatus.FAILED,
                NodeStatus.CANCELLED,
            }
        ),
        NodeStatus.RUNNING: frozenset(
            {NodeStatus.RETRYING, NodeStatus.SUCCESS, NodeStatus.FAILED, NodeStatus.CANCELLED}
        ),
        NodeStatus.RETRYING: frozenset({NodeStatus.QUEUED, NodeStatus.FAILED, NodeStatus.CANCELLED}),
        NodeStatus.SUCCESS: frozenset(),
        NodeStatus.FAILED: frozenset(),
        NodeStatus.SKIPPED: frozenset(),
        NodeStatus.CANCELLED: frozenset(),
    }
)

# What a person's word may bring back while the run is open (`node.replay`): a node that failed, and those that were
# skipped because of it. Both wait then for an attempt with the next number; to all others their ends stay final.
NODE_REVIVALS: Mapping[NodeStatus, NodeStatus] = MappingProxyType(
    {NodeStatus.FAILED: NodeStatus.PENDING, NodeStatus.SKIPPED: NodeStatus.PENDING}
)

RUN_TRANSITIONS: Mapping[RunStatus, frozenset[RunStatus]] = MappingProxyType(
    {
        RunStatus.QUEUED: frozenset({RunStatus.RUNNING, RunStatus.FAILED, RunStatus.CANCELLED}),
        RunStatus.RUNNING: frozenset({RunStatus.COMPLETED, RunStatus.PARTIAL, RunStatus.FAILED, RunStatus.CANCELLED}),
        RunStatus.COMPLETED: frozenset(),
        RunStatus.PARTIAL: frozenset(),
        RunStatus.FAILED: frozenset(),
        RunStatus.CANCELLED: frozenset(),
    }
)

FINAL_NODE_STATUSES = frozenset(status for status, following in NODE_TRANSITIONS.items() if not following)
FINAL_RUN_STATUSES = frozenset(status for status, following in RUN_TRANSITIONS.items() if not following)


class IllegalTransitionError(Exception):
    """A state was asked to become one that the table does not allow: a defect, never a person's mistake."""


def node_transition(current: NodeStatus, following: NodeStatus) -> NodeStatus:
    """Return `following` if the table allows it after `current`, else raise IllegalTransitionError."""
    if following not in NODE_TRANSITIONS[current]:
        raise IllegalTransitionError(f"a node cannot go from {current} to {following}")
    return following


def node_revival(current: NodeStatus) -> NodeStatus:
    """Return what a node becomes that a person brings back, else raise IllegalTransitionError."""
    if current not in NODE_REVIVALS:
        raise IllegalTransitionError(f"a node that is {current} cannot be brought back")
    return NODE_REVIVALS[current]


def run_transition(current: RunStatus, following: RunStatus) -> RunStatus:
    """Return `following` if the table allows it after `current`, else raise IllegalTransitionError."""
    if following not in RUN_TRANSITIONS[current]:
        raise IllegalTransitionError(f"a run cannot go from {current} to {following}")
    return following


def final_run_status(worker_nodes: Iterable[NodeStatus], others: Iterable[NodeStatus]) -> RunStatus:
    """Return how a run ended whose nodes all ended.

    completed: every node succeeded; partial: something failed, yet at least one worker node succeeded;
    failed: none did. Cancellation is decided by the caller, not read off the nodes.
    """
    workers = list(worker_nodes)
    if all(status is NodeStatus.SUCCESS for status in (*workers, *others)):
        return RunStatus.COMPLETED
    return RunStatus.PARTIAL if NodeStatus.SUCCESS in workers else RunStatus.FAILED
