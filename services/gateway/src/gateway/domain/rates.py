"""How many jobs of each node type arrive and end over the last minutes. No clock of its own: times are in seconds.

Counted from the events that every gateway reads anyway, so that no table needs an index by time.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from shared.contracts.base import Contract
from shared.contracts.events import NodeFailed, NodeQueued, NodeSucceeded
from shared.contracts.states import NodeStatus

WINDOW_SECONDS = 300.0
BUCKET_SECONDS = 10.0

_ARRIVES = NodeQueued.kind_name()
_ENDS = frozenset({NodeSucceeded.kind_name(), NodeFailed.kind_name()})


@dataclass(frozen=True, slots=True)
class Flow:
    """Jobs per second. A job of which each attempt is counted arrives, and ends, as often."""

    arriving: float = 0.0
    finishing: float = 0.0


@dataclass(slots=True)
class _Bucket:
    number: int
    arrived: int = 0
    finished: int = 0


class _Node(Contract):
    node_type: str
    status: NodeStatus


class _Begun(Contract):
    nodes: tuple[_Node, ...]


class Rates:
    """Counts what is told of jobs of these node types; of others it takes no note."""

    def __init__(self, node_types: Iterable[str], since: float) -> None:
        self._buckets = {name: deque[_Bucket]() for name in node_types}
        self._since = since  # what happened before it is not known

    def note(self, kind: str, node_type: str, at: float) -> None:
        """Count an event; events may come late, but those of a type come in about the order of their times."""
        buckets = self._buckets.get(node_type)
        if buckets is None or (kind != _ARRIVES and kind not in _ENDS):
            return
        self._since = min(self._since, at)
        number = int(at // BUCKET_SECONDS)
        if not buckets or buckets[-1].number < number:
            buckets.append(_Bucket(number))
            self._drop_old(buckets, number)
        if kind == _ARRIVES:
            buckets[-1].arrived += 1
        else:
            buckets[-1].finished += 1

    def flow(self, node_type: str, now: float) -> Flow:
        """Return the rates over the last `WINDOW_SECONDS`, or over the shorter time that is known."""
        oldest = now - WINDOW_SECONDS
        recent = [item for item in self._buckets.get(node_type, ()) if (item.number + 1) * BUCKET_SECONDS > oldest]
        seconds = max(BUCKET_SECONDS, now - max(oldest, self._since))
        return Flow(sum(item.arrived for item in recent) / seconds, sum(item.finished for item in recent) / seconds)

    @staticmethod
    def _drop_old(buckets: deque[_Bucket], number: int) -> None:
        while buckets and buckets[0].number < number - WINDOW_SECONDS / BUCKET_SECONDS:
            buckets.popleft()


def first_jobs(body: bytes) -> Iterator[str]:
    """Yield the node types of the jobs that a run began with."""
    try:
        begun = _Begun.model_validate_json(body)
    except ValidationError:
        return  # the log of events says so
    yield from (node.node_type for node in begun.nodes if node.status is NodeStatus.QUEUED)
