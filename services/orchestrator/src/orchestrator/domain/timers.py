"""What is to happen at a time: derived from the state, so that a restart finds all of it again."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from orchestrator.domain.state import RunState
from shared.contracts.messages import NodeAttempt, NodeRetry


@dataclass(frozen=True, slots=True)
class Timer:
    """A message that the orchestrator is to send itself once `due` has come."""

    due: datetime
    message: NodeRetry


def timers_of(state: RunState) -> Iterator[Timer]:
    """Yield the timers that a run waits for."""
    for node_id, node in state.nodes.items():
        if node.retry_at:
            yield retry_timer(state.attempt_at(node_id), node.retry_at)


def retry_timer(failed: NodeAttempt, due: datetime) -> Timer:
    """Return the timer of the attempt that follows a failed one."""
    following = failed.copy()
    following["attempt"] += 1
    return Timer(due, NodeRetry(**following, at=due))
