"""What the levels of queues mean: per node type, with the time to drain and what operators should know."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from gateway.domain.rates import Flow
from shared.contracts.errors import Problem
from shared.contracts.queues import NodeTypeLevel, QueueLevel

GROWTH_FLOOR = 20  # jobs; fewer that wait are no backlog


def with_consumers_missed(levels: Iterable[QueueLevel]) -> tuple[QueueLevel, ...]:
    """Return the levels, with a warning for each queue that somebody should consume and nobody does."""
    return tuple(_unconsumed(level) if _is_unconsumed(level) else level for level in levels)


def node_type_level(
    node_type: str, queues: Sequence[QueueLevel], flow: Flow, oldest: datetime | None, now: datetime
) -> NodeTypeLevel:
    """Return how things stand with the jobs of a type, whose queues are among those given."""
    jobs = [level for level in queues if level.node_type == node_type and not level.holds_dead_letters]
    dead = [level for level in queues if level.node_type == node_type and level.holds_dead_letters]
    waiting = _sum(level.ready for level in jobs)
    level = NodeTypeLevel(
        node_type=node_type,
        waiting=waiting,
        in_hand=_sum(level.unacked for level in jobs),
        consumers=min((level.consumers for level in jobs if level.consumers is not None), default=None),
        dead_letters=_sum(level.ready for level in dead),
        oldest_queued_at=oldest,
        oldest_seconds=max(0.0, (now - oldest).total_seconds()) if oldest else None,
        arriving=flow.arriving,
        finishing=flow.finishing,
        drain_seconds=_drain_seconds(waiting, flow),
    )
    return level.model_copy(update={"warnings": tuple(_warnings(level))})


def by_node_type(
    node_types: Iterable[str],
    queues: Sequence[QueueLevel],
    flows: Mapping[str, Flow],
    oldest: Mapping[str, datetime],
    now: datetime,
) -> tuple[NodeTypeLevel, ...]:
    """Return how things stand with the jobs of each type."""
    return tuple(node_type_level(name, queues, flows.get(name, Flow()), oldest.get(name), now) for name in node_types)


def _sum(counts: Iterable[int | None]) -> int | None:
    """Return the sum; a part that is not known leaves it unknown."""
    known = list(counts)
    return None if None in known else sum(count for count in known if count is not None)


def _drain_seconds(waiting: int | None, flow: Flow) -> float | None:
    if waiting is None:
        return None
    if waiting == 0:
        return 0.0
    return waiting / flow.finishing if flow.finishing > 0 else None


def _warnings(level: NodeTypeLevel) -> Iterator[Problem]:
    if level.consumers == 0:
        yield Problem(
            code="no_consumer",
            message=f"no worker takes jobs of {level.node_type}, of which {level.waiting or 0} wait",
            where=level.node_type,
            fix=f"start a worker of {level.node_type}, or look at its log",
        )
    if (level.waiting or 0) > GROWTH_FLOOR and level.arriving > level.finishing:
        yield Problem(
            code="growing_backlog",
            message=f"{level.arriving:.1f} jobs of {level.node_type} arrive in a second, and {level.finishing:.1f} end",
            where=level.node_type,
            fix="start more workers, or let fewer runs begin",
        )


def _is_unconsumed(level: QueueLevel) -> bool:
    return level.exists and level.consumers == 0 and not level.holds_dead_letters


def _unconsumed(level: QueueLevel) -> QueueLevel:
    problem = Problem(
        code="no_consumer",
        message=f"nobody consumes the queue {level.name}, in which {level.ready or 0} messages wait",
        where=level.name,
        fix="start the service that consumes it, or look at its log",
    )
    return level.model_copy(update={"warnings": (*level.warnings, problem)})
