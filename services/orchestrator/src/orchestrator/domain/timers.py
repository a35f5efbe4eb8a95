"""What is to happen at a time: derived from the state, so that a restart finds all of it again."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.domain.state import RunState
from shared.contracts.commands import NodeExpire, NodeRetry, RunExpire
from shared.contracts.states import NodeStatus

# Seconds that a worker's own word about a timeout may take to arrive, before its attempt is given up without it.
GRACE = 5.0
# A worker may have about four times as many jobs in hand as it does at a time: so long may one wait there for its turn.
TURNS = 5


@dataclass(frozen=True, slots=True)
class Timer:
    """A message that the orchestrator is to send itself once `due` has come."""

    due: datetime
    message: NodeRetry | NodeExpire | RunExpire


def timers_of(state: RunState, node_ids: Iterable[str] | None = None) -> Iterator[Timer]:
    """Yield the timers that a run waits for; of its nodes only these, where they are named."""
    if state.finished_by:
        return
    due = state.accepted.at + timedelta(seconds=state.accepted.command.options.timeout)
    yield Timer(due, RunExpire(run_id=state.accepted.run_id, at=due))
    for node_id in state.nodes if node_ids is None else node_ids:
        yield from _timers_of_node(state, node_id)


def unconfirmed(state: RunState, now: datetime) -> Iterator[str]:
    """Yield the nodes whose jobs nobody has told of for longer than a worker may keep them, waiting and working.

    They still wait in their queue, or what had them is gone without a word.
    """
    for node_id, node in state.nodes.items():
        if node.status is NodeStatus.QUEUED and node.queued_at and not node.started_at:
            patience = timedelta(seconds=TURNS * state.plan.timeout(node_id) + GRACE)
            if node.queued_at + patience < now:
                yield node_id


def expiry(state: RunState, node_id: str, at: datetime) -> NodeExpire:
    """Return the message that gives up the latest attempt at a node."""
    return NodeExpire(**state.attempt_at(node_id), at=at)


def _timers_of_node(state: RunState, node_id: str) -> Iterator[Timer]:
    node = state.nodes[node_id]
    if node.retry_at:
        about = state.attempt_at(node_id)
        about["attempt"] += 1
        yield Timer(node.retry_at, NodeRetry(**about, at=node.retry_at))
    elif node.status is NodeStatus.QUEUED and node.started_at:
        due = node.started_at + timedelta(seconds=state.plan.timeout(node_id) + GRACE)
        yield Timer(due, expiry(state, node_id, due))
