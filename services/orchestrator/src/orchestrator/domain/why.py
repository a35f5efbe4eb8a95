"""What a run, or a node of it, is waiting for; and which queues must be looked at to tell."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from orchestrator.domain.state import RunState
from orchestrator.domain.timers import GRACE
from shared.contracts.queries import MAX_EXPLAINED, NodeExplanation, Reason, WhyReply
from shared.contracts.run_options import Lane
from shared.contracts.states import NodeStatus, RunStatus


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """How many messages wait in a queue, and how many consumers it has."""

    messages: int
    consumers: int


class Explainer:
    """Explains one run; `place` is its place among the runs with its concurrency key, while it waits for its turn."""

    def __init__(self, state: RunState, *, now: datetime, place: int | None = None) -> None:
        self._state = state
        self._now = now
        self._place = place

    def asked(self, node_id: str | None) -> list[str]:
        """Return the nodes to explain: the one that is asked about, else those that have not ended."""
        if node_id is not None:
            return [node_id] if node_id in self._state.nodes else []
        open_nodes = (node for node in self._state.plan.nodes if not self._state.nodes[node].is_final)
        return list(islice(open_nodes, MAX_EXPLAINED))

    def queues(self, node_ids: list[str]) -> frozenset[str]:
        """Return the queues that these nodes' jobs may wait in."""
        waiting = [node_id for node_id in node_ids if self._state.nodes[node_id].status is NodeStatus.QUEUED]
        return frozenset(map(self._queue, waiting)) | frozenset(map(self._suspects, waiting))

    def explain(self, node_ids: list[str], queues: Mapping[str, QueueCounts]) -> WhyReply:
        """Return the answer; `queues` holds the counts of `queues(node_ids)`."""
        return WhyReply(
            known=bool(node_ids) or bool(self._state.finished_by),
            status=self._state.status,
            reasons=tuple(self._about_run()),
            nodes=tuple(
                NodeExplanation(
                    node_id=node_id,
                    status=self._state.nodes[node_id].status,
                    reasons=tuple(self._about_node(node_id, queues)),
                )
                for node_id in node_ids
            ),
            open_nodes=self._state.open_nodes,
        )

    def _queue(self, node_id: str) -> str:
        return self._state.plan.node_type(node_id).job_queue(self._state.nodes[node_id].lane)

    def _suspects(self, node_id: str) -> str:
        return self._state.plan.node_type(node_id).job_queue(Lane.SUSPECT)

    def _about_run(self) -> Iterator[Reason]:
        options = self._state.accepted.command.options
        if self._state.status is RunStatus.QUEUED and options.concurrency:
            limit = options.concurrency
            yield Reason(
                code="concurrency_limit",
                message=f"{limit.limit} runs with the key {limit.key!r} may go on at a time; this one is number "
                f"{self._place} of those that wait",
                place=self._place,
                since=self._state.accepted.at,
            )
        if (budget := self._state.budget_problem("")) and not self._state.finished_by:
            yield Reason(code=budget.code, message=f"{budget.message}; no further model is asked")

    def _about_node(self, node_id: str, queues: Mapping[str, QueueCounts]) -> Iterator[Reason]:
        node = self._state.nodes[node_id]
        tellers: Mapping[NodeStatus, Callable[[], Iterator[Reason]]] = {
            NodeStatus.PENDING: lambda: self._pending(node_id),
            NodeStatus.QUEUED: lambda: self._queued(node_id, queues),
            NodeStatus.RETRYING: lambda: self._retrying(node_id),
        }
        if node.status in tellers:
            yield from tellers[node.status]()
        elif node.error:
            yield Reason(code=node.error.code, message=node.error.message, attempt=node.attempt, error=node.error)

    def _pending(self, node_id: str) -> Iterator[Reason]:
        if self._state.status is RunStatus.QUEUED:
            yield Reason(code="run_queued", message="its run waits for its turn")
            return
        sources = dict.fromkeys(edge.source for edge in self._state.plan.incoming[node_id])
        missing = tuple(source for source in sources if not self._state.nodes[source].is_final)
        if missing:
            shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")  # noqa: PLR2004
            yield Reason(code="waiting_for_nodes", message=f"it waits for {shown}", nodes=missing[:MAX_EXPLAINED])
        else:
            yield self._waits_for_place(node_id)

    def _waits_for_place(self, node_id: str) -> Reason:
        state, options = self._state, self._state.accepted.command.options
        place = state.ready.place(node_id)
        return Reason(
            code="in_flight_limit",
            message=f"{state.in_flight} nodes of the run are in flight ({options.max_in_flight} may be), of which "
            f"{state.lasting} last; beside these it has {options.window} places. The node is number {place} in line",
            place=place,
        )

    def _queued(self, node_id: str, queues: Mapping[str, QueueCounts]) -> Iterator[Reason]:
        node, queue = self._state.nodes[node_id], self._queue(node_id)
        if node.started_at:
            until = node.started_at + timedelta(seconds=self._state.plan.timeout(node_id) + GRACE)
            message = "a worker has its job"
            yield Reason(code="running", message=message, since=node.started_at, until=until, attempt=node.attempt)
            return
        counts = queues.get(queue)
        code, message = _about_queue(queue, counts)
        yield Reason(
            code=code,
            message=message,
            queue=queue,
            messages=counts.messages if counts else None,
            consumers=counts.consumers if counts else None,
            since=node.queued_at,
            attempt=node.attempt,
        )
        yield from _about_suspects(self._suspects(node_id), queues)

    def _retrying(self, node_id: str) -> Iterator[Reason]:
        node = self._state.nodes[node_id]
        if node.retry_at is None:
            yield self._waits_for_place(node_id)
            return
        assert node.error
        yield Reason(
            code="retry_pending",
            message=f"attempt {node.attempt} failed ({node.error.code}); the next is due at "
            f"{node.retry_at:%H:%M:%S} UTC",
            until=node.retry_at,
            attempt=node.attempt,
            error=node.error,
        )


def _about_suspects(queue: str, queues: Mapping[str, QueueCounts]) -> Iterator[Reason]:
    """Yield the reason that a job may be one of those that were in hand when a worker died."""
    counts = queues.get(queue)
    if counts and counts.messages:
        yield Reason(
            code="suspects_waiting",
            message=f"it may be among the {counts.messages} jobs that were in hand when a worker died, which wait in "
            f"{queue} to be tried one at a time",
            queue=queue,
            messages=counts.messages,
            consumers=counts.consumers,
        )


def _about_queue(queue: str, counts: QueueCounts | None) -> tuple[str, str]:
    """Return code and message of the reason that a node's job is in a queue."""
    if counts is None:
        return "queued", f"its job was handed to {queue}, which cannot be looked at now"
    if counts.consumers == 0:
        return "no_consumer", f"no worker consumes {queue}, where {counts.messages} jobs wait"
    return "queued", f"its job waits in {queue}, where {counts.messages} wait, or a worker has just taken it"
