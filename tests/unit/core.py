"""The pure core as its tests drive it: messages in, messages out, the journal beside it; time is what they say."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, TypeVar
from uuid import UUID

from orchestrator.domain.cache import cache_key
from orchestrator.domain.evolve import evolve
from orchestrator.domain.intake import decided, take_in
from orchestrator.domain.state import JournalEvent, NodesCached, RunState
from shared.contracts.commands import NodeExecute, RunStart
from shared.contracts.envelope import Message
from shared.contracts.errors import Problem
from shared.contracts.events import NodeFailed, NodeSucceeded
from shared.contracts.graph import Edge, Node, WorkflowGraph
from shared.contracts.states import NodeStatus
from shared.contracts.values import TextValue

M = TypeVar("M", bound=Message)

RUN_ID = UUID(int=7)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Delivered:
    """What came of a message: the event that was journaled, None for a repetition, and what was published."""

    event: JournalEvent | None
    messages: tuple[Message, ...]

    def of(self, kind: type[M]) -> list[M]:
        return [message for message in self.messages if isinstance(message, kind)]


class Core:
    """One run of the core, with nothing around it."""

    def __init__(self, graph: WorkflowGraph | None = None, **start: Any):
        self._state: RunState | None = None
        self.journal: list[JournalEvent] = []
        self.published: list[Message] = []
        self.command = RunStart(run_id=RUN_ID, graph=graph or WorkflowGraph(nodes=()), **start)

    @property
    def state(self) -> RunState:
        assert self._state
        return self._state

    def start(self) -> Delivered:
        return self.deliver(self.command)

    def deliver(self, message, *, now=NOW, cached=None) -> Delivered:
        """Take in a message; `cached` holds outputs that are found, by key."""
        intake = take_in(self._state, message, now=now)
        self._state = intake.state
        event = intake.event if intake.is_new else None
        if event:
            self.journal.append(event)
            self._reuse(event, cached or {})
        messages = tuple(decided(self._state, intake))
        self.published += messages
        return Delivered(event, messages)

    def _reuse(self, event, cached) -> None:
        while outputs := {
            node_id: cached[key]
            for node_id in self.state.caused.get(event.message_id, ())
            if self.state.nodes[node_id].status is NodeStatus.QUEUED
            and (key := cache_key(self.state, node_id)) in cached
        }:
            found = NodesCached(run_id=RUN_ID, at=event.at, cause=event.message_id, outputs=outputs)
            self.journal.append(found)
            self._state = evolve(self._state, found)

    def told(self, kind: type[M]) -> list[M]:
        return [message for message in self.published if isinstance(message, kind)]

    def statuses(self):
        return {node_id: node.status for node_id, node in self.state.nodes.items()}

    def jobs(self):
        return [job.node_id for job in self.told(NodeExecute)]

    def replayed(self):
        """The state as another process finds it in the journal."""
        state = None
        for event in self.journal:
            state = evolve(state, type(event).model_validate_json(event.to_json()))
        return state

    def run(self, *, seed=0, answer=None, repeat=1):
        """Run to the end: messages are taken in any order, `repeat` times each, and jobs answered once."""
        order, pending, seen = random.Random(seed), [self.command] * repeat, set()
        while pending:
            message = pending.pop(order.randrange(len(pending)))
            for job in self.deliver(message).of(NodeExecute):
                if job.message_id not in seen:
                    seen.add(job.message_id)
                    pending += [(answer or succeeded)(job)] * repeat
        return self


def succeeded(job, text=None, **told):
    """The answer of a worker that tells which of its inputs it saw."""
    seen = ",".join(item.source for items in job.inputs.values() for item in items)
    return NodeSucceeded(**job.about, at=NOW, output=TextValue(text=text or f"{job.node_id}({seen})"), **told)


def failed(job, code="llm_refused", **told):
    return NodeFailed(**job.about, at=NOW, error=Problem(code=code, message="no"), **told)


def ask(node_id, **fields):
    return Node(id=node_id, type="llm", params={"userMessage": "?"}, **fields)


def wide(count, **fields):
    """A graph of that many questions that wait for nothing."""
    return WorkflowGraph(nodes=tuple(ask(f"n{number}", **fields) for number in range(count)))


def chain(*node_ids, **fields):
    """A graph of questions, each of which waits for the one before."""
    edges = tuple(Edge(source=source, target=target, target_handle="texts") for source, target in pairwise(node_ids))
    return WorkflowGraph(nodes=tuple(ask(node_id, **fields) for node_id in node_ids), edges=edges)


def started(graph, **start):
    """Return the core of a run of this graph that has begun."""
    core = Core(graph, **start)
    core.start()
    return core


def job(core, node_id):
    """Return the latest job of a node."""
    return [message for message in core.told(NodeExecute) if message.node_id == node_id][-1]
