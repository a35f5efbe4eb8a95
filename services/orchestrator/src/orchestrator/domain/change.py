"""One event's effect on a run, while it spreads: from nodes that ended to the nodes behind them."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from orchestrator.domain.plan import Plan
from orchestrator.domain.state import NodeState, RunState
from shared.contracts.errors import Problem
from shared.contracts.node_type import Supplied
from shared.contracts.run_options import Lane, Priority
from shared.contracts.states import (
    NodeStatus,
    RunStatus,
    final_run_status,
    node_revival,
    node_transition,
    run_transition,
)
from shared.contracts.values import MAX_DEPTH, RecordValue, TextValue, Value

# Of the jobs that a run has in flight, so many are in the lane of its priority, the others in the next lower one: so a
# large run leaves its lane to small ones, and yet keeps all workers busy.
JOBS_IN_OWN_LANE = 4
MAX_INPUT_BYTES = 8 * 1024 * 1024  # of a node's inputs, as JSON; a message may have half as much again
_LONGEST_ESCAPE = 6  # bytes of JSON for one character
MAX_INPUT_VALUES = 20_000
MAX_INPUT_DEPTH = MAX_DEPTH // 2  # records within records; what a node makes of them may be a little deeper
_OWN_LANES = {Priority.HIGH: Lane.HIGH, Priority.NORMAL: Lane.NORMAL, Priority.LOW: Lane.LOW}
_NEXT_LANES = {Lane.HIGH: Lane.NORMAL, Lane.NORMAL: Lane.LOW, Lane.LOW: Lane.LOW}


class Change:
    """Collects what an event with the id `cause` does to a run; `result` lets it spread to its end."""

    def __init__(self, state: RunState, cause: str, at: datetime) -> None:
        self._state = state
        self._cause = cause
        self._at = at
        self._nodes = state.nodes.mutate()
        self._touched: dict[str, None] = {}
        self._ended: deque[str] = deque()
        self._ready = state.ready
        self._in_flight = state.in_flight
        self._in_own_lane = state.in_own_lane
        self._lasting = state.lasting
        self._open_nodes = state.open_nodes
        self._cancelled = False

    @property
    def _plan(self) -> Plan:
        return self._state.plan

    def succeed(self, node_id: str, output: Value, *, cached: bool = False) -> None:
        """Give a node its output."""
        self._become(node_id, NodeStatus.SUCCESS, output=output, cached=cached, error=None)
        self._ended.append(node_id)

    def fail(self, node_id: str, error: Problem) -> None:
        """Let a node fail for good."""
        error = error.model_copy(update={"node_id": node_id})
        self._become(node_id, NodeStatus.FAILED, error=error, retry_at=None)
        self._ended.append(node_id)

    def fail_attempt(self, node_id: str, error: Problem, retry_at: datetime | None) -> None:
        """Let an attempt fail; another follows at `retry_at`, if that is a time."""
        if retry_at:
            self._become(node_id, NodeStatus.RETRYING, error=error, retry_at=retry_at)
        else:
            self.fail(node_id, error)

    def try_again(self, node_id: str) -> None:
        """Make the next attempt as soon as the run's window allows."""
        self._set(node_id, attempt=self._nodes[node_id].attempt + 1, retry_at=None, queued_at=None)
        self._ready = self._ready.add(node_id)

    def revive(self, node_id: str) -> None:
        """Bring back a node that failed, and those behind it that were skipped because of it and of no other."""
        reviving = deque([node_id])
        while reviving:
            revived = reviving.popleft()
            self._revive(revived)
            reviving += [following for following in self._plan.successors[revived] if self._may_revive(following)]

    def note_start(self, node_id: str, started_at: datetime) -> None:
        """Note since when a worker has the node's job."""
        self._set(node_id, started_at=started_at)

    def cancel(self) -> None:
        """Cancel the run with all its open nodes."""
        self._cancelled = True
        for node_id in self._plan.nodes:
            if not self._nodes[node_id].is_final:
                self._become(node_id, NodeStatus.CANCELLED, retry_at=None)

    def give_up(self, error: Problem) -> None:
        """Let every open node fail that waits for no other node; those behind them are skipped."""
        for node_id in self._plan.nodes:
            node = self._nodes[node_id]
            if not node.is_final and (node.status is not NodeStatus.PENDING or node.waiting_for == 0):
                self.fail(node_id, error)

    def make_ready(self, node_id: str) -> None:
        """Evaluate an inline node at once; any other waits for a place in the run's window."""
        if self._plan.node_type(node_id).evaluate is None:
            self._ready = self._ready.add(node_id)
        elif problem := self._unfit(node_id):
            self.fail(node_id, problem)
        else:
            self.succeed(node_id, self._evaluate(node_id))

    def result(self) -> RunState:
        """Let the effect spread to its end, fill the run's window, and return the run as it is afterwards."""
        while self._ended or self._has_place():
            if self._ended:
                self._spread_from(self._ended.popleft())
            else:
                node_id, self._ready = self._ready.pop()
                self._queue(node_id)
        caused = (*self._state.caused.get(self._cause, ()), *self._touched)
        state = replace(
            self._state,
            nodes=self._nodes.finish(),
            caused=self._state.caused.set(self._cause, caused),
            ready=self._ready,
            open_nodes=self._open_nodes,
            in_flight=self._in_flight,
            in_own_lane=self._in_own_lane,
            lasting=self._lasting,
        )
        return state if state.open_nodes else self._finish(state)

    def _finish(self, state: RunState) -> RunState:
        status = RunStatus.CANCELLED if self._cancelled else _final_status(state)
        status = run_transition(state.status, status)
        return replace(state, status=status, finished_by=self._cause, finished_at=self._at)

    def _has_place(self) -> bool:
        options = self._state.accepted.command.options
        is_open = self._in_flight < options.max_in_flight and self._in_flight - self._lasting < options.window
        return len(self._ready) > 0 and is_open and not self._cancelled

    def _set(self, node_id: str, **changes: Any) -> None:
        before = self._nodes[node_id]
        if before.cause != self._cause:
            self._touched[node_id] = None
        after = self._nodes[node_id] = replace(before, **changes)
        self._open_nodes += before.is_final - after.is_final
        self._count(before, -1)
        self._count(after, 1)

    def _count(self, node: NodeState, change: int) -> None:
        if node.status is NodeStatus.QUEUED:
            self._in_flight += change
            self._in_own_lane += change * (node.lane is self._own_lane)
            self._lasting += change * (node.started_at is not None)

    def _become(self, node_id: str, status: NodeStatus, **changes: Any) -> None:
        following = node_transition(self._nodes[node_id].status, status)
        self._set(node_id, status=following, cause=self._cause, **changes)

    def _revive(self, node_id: str) -> None:
        node = self._nodes[node_id]
        sources = (self._nodes[source] for source in self._plan.predecessors(node_id))
        self._set(
            node_id,
            status=node_revival(node.status),
            cause=self._cause,
            waiting_for=sum(source.status is not NodeStatus.SUCCESS for source in sources),
            attempt=node.attempt + 1,
            earlier_attempts=node.attempt,
            error=None,
            queued_at=None,
            started_at=None,
        )

    def _may_revive(self, node_id: str) -> bool:
        """Tell whether a node was skipped, and none of those before it is a reason for that any more."""
        sources = (self._nodes[source] for source in self._plan.predecessors(node_id))
        ended_badly = any(source.is_final and source.status is not NodeStatus.SUCCESS for source in sources)
        return self._nodes[node_id].status is NodeStatus.SKIPPED and not ended_badly

    def _queue(self, node_id: str) -> None:
        if self._nodes[node_id].is_final:
            return
        node_type = self._plan.node_type(node_id)
        spent = self._state.budget_problem(node_id) if node_type.metered else None
        if problem := spent or self._unfit(node_id):
            self.fail(node_id, problem)
        else:
            self._become(node_id, NodeStatus.QUEUED, queued_at=self._at, started_at=None, lane=self._lane())

    @property
    def _own_lane(self) -> Lane:
        return _OWN_LANES[self._state.accepted.command.options.priority]

    def _lane(self) -> Lane:
        """Return the lane for one more job."""
        return self._own_lane if self._in_own_lane < JOBS_IN_OWN_LANE else _NEXT_LANES[self._own_lane]

    def _spread_from(self, ended: str) -> None:
        succeeded = self._nodes[ended].status is NodeStatus.SUCCESS
        for following in self._plan.successors[ended]:
            node = self._nodes[following]
            if node.status is not NodeStatus.PENDING:
                continue
            if not succeeded:
                self._become(following, NodeStatus.SKIPPED)
                self._ended.append(following)
                continue
            self._nodes[following] = replace(node, waiting_for=node.waiting_for - 1)
            if node.waiting_for == 1:
                self.make_ready(following)

    def _evaluate(self, node_id: str) -> Value:
        node_type = self._plan.node_type(node_id)
        assert node_type.evaluate
        supplied = Supplied(
            node_id=node_id,
            params=node_type.read_params(self._plan.nodes[node_id].params),
            inputs={handle: tuple(value for _, value in values) for handle, values in self._inputs(node_id).items()},
            run_inputs=self._state.accepted.command.inputs,
        )
        return node_type.evaluate(supplied)

    def _inputs(self, node_id: str) -> Mapping[str, Sequence[tuple[str, Value]]]:
        return self._plan.inputs_of(node_id, lambda source: self._nodes[source].output)

    def _unfit(self, node_id: str) -> Problem | None:
        """Return what is wrong with a node's inputs, if they are more than a message can hold."""
        values = [value for values in self._inputs(node_id).values() for _, value in values]
        if _count(values, MAX_INPUT_VALUES) > MAX_INPUT_VALUES:
            code = "inputs_too_many"
            message = f"what reaches this node has more than {MAX_INPUT_VALUES:,} values, those within records counted"
        elif (size := _json_bytes(values)) > MAX_INPUT_BYTES:
            code = "inputs_too_large"
            message = f"what reaches this node has {size:,} bytes as JSON, and {MAX_INPUT_BYTES:,} are allowed"
        elif any(isinstance(value, RecordValue) and value.depth > MAX_INPUT_DEPTH for value in values):
            code = "inputs_too_deep"
            message = f"the records that reach this node are nested more than {MAX_INPUT_DEPTH} deep"
        else:
            return None
        return Problem(code=code, message=message, node_id=node_id, fix="pass less from node to node")


def _count(values: Sequence[Value], most: int) -> int:
    """Return how many values there are, also within records; looks at few more than `most`, since they may explode."""
    remaining, count = list(values), 0
    while remaining and count <= most:
        value = remaining.pop()
        count += 1
        if isinstance(value, RecordValue):
            remaining += value.fields.values()
    return count


def _json_bytes(values: Sequence[Value]) -> int:
    """Return how many bytes the values have as JSON, or an estimate where they have far fewer than are allowed."""
    estimate = sum(map(_text_length, values)) * _LONGEST_ESCAPE
    return estimate if estimate < MAX_INPUT_BYTES else sum(len(value.to_json()) for value in values)


def _text_length(value: Value) -> int:
    match value:
        case TextValue(text=text):
            return len(text)
        case RecordValue(fields=fields):
            return sum(map(_text_length, fields.values()))
        case _:
            return 0


def _final_status(state: RunState) -> RunStatus:
    workers = {node_id for node_id in state.nodes if state.plan.node_type(node_id).queue}
    return final_run_status(
        worker_nodes=(state.nodes[node_id].status for node_id in workers),
        others=(node.status for node_id, node in state.nodes.items() if node_id not in workers),
    )
