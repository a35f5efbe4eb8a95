"""What Hypothesis may do to the protocol, and what must hold afterwards."""

import asyncio
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tests.simulation.world import REPLICAS, World

from shared.contracts.commands import RunStart
from shared.contracts.graph import Edge, Node, WorkflowGraph
from shared.contracts.retries import RetryPolicy
from shared.contracts.run_options import Budget, Concurrency, RunOptions
from shared.database import Database

MAX_RUNS = 3
OUTCOMES = ("succeeds", "succeeds", "succeeds", "retryable", "permanent", "dies", "holds", "lasts")
RETRIES = RetryPolicy(max_attempts=2, first_pause=5)


@st.composite
def graphs(draw: st.DrawFn) -> WorkflowGraph:
    """Small acyclic graphs of texts, questions and responses; some questions may reuse an earlier answer."""
    nodes: list[Node] = []
    edges: list[Edge] = []
    for number in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["llm", "llm", "llm", "text", "response"]))
        asked = {"userMessage": "?", "model": "m"} if kind == "llm" else {}
        cache = True if kind == "llm" and draw(st.booleans()) else None
        nodes.append(Node(id=f"n{number}", type=kind, params={**asked}, retry=RETRIES, timeout=20, cache=cache))
        possible = [node.id for node in nodes[:-1] if node.type != "response"] if kind != "text" else []
        for place, source in enumerate(draw(st.lists(st.sampled_from(possible), unique=True)) if possible else []):
            handle = "texts" if kind == "llm" else f"result{place}"
            edges.append(Edge(source=source, target=f"n{number}", target_handle=handle))
    return WorkflowGraph(nodes=tuple(nodes), edges=tuple(edges))


OPTIONS = st.builds(
    RunOptions,
    max_in_flight=st.integers(1, 4),
    timeout=st.sampled_from([60.0, 24 * 3600.0]),
    budget=st.sampled_from([None, None, Budget(max_tokens=4)]),
    concurrency=st.sampled_from([None, None, Concurrency(key="k")]),
)
DEATHS = st.one_of(st.none(), st.integers(0, 6))


class Protocol(RuleBasedStateMachine):
    """The system under every fault that the messages between its parts can meet."""

    database: Database
    runner: asyncio.Runner

    @initialize()
    def begin(self) -> None:
        self.world = World(self.database)
        self.runner.run(self.world.clear())

    @rule(graph=graphs(), options=OPTIONS, twice=st.booleans())
    @precondition(lambda self: len(self.world.starts) < MAX_RUNS)
    def start(self, graph: WorkflowGraph, options: RunOptions, twice: bool) -> None:
        command = RunStart(run_id=UUID(int=len(self.world.starts) + 1), graph=graph, options=options)
        self.world.start(command)
        if twice:
            self.world.broker.publish(command)

    @rule(replica=st.integers(0, REPLICAS - 1), count=st.integers(1, 5), dies_after=DEATHS, ack_lost=st.booleans())
    @precondition(lambda self: self.world.broker.inbox)
    def deliver(self, replica: int, count: int, dies_after: int | None, ack_lost: bool) -> None:
        self.runner.run(self.world.deliver(replica, count, dies_after=dies_after, ack_lost=ack_lost))

    @rule(count=st.integers(1, 5))
    @precondition(lambda self: self.world.broker.inbox)
    def deliver_to_all(self, count: int) -> None:
        self.runner.run(self.world.deliver_to_all(count))

    @rule(outcome=st.sampled_from(OUTCOMES))
    @precondition(lambda self: self.world.broker.jobs)
    def work(self, outcome: str) -> None:
        self.world.work(outcome)

    @rule()
    @precondition(lambda self: self.world.held)
    def wake(self) -> None:
        self.world.wake()

    @rule(seconds=st.sampled_from([1, 6, 30, 120]))
    @precondition(lambda self: self.world.starts)
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(replica=st.integers(0, REPLICAS - 1), dies_after=DEATHS)
    @precondition(lambda self: self.world.starts)
    def sweep(self, replica: int, dies_after: int | None) -> None:
        self.runner.run(self.world.sweep(replica, dies_after=dies_after))

    @rule(number=st.integers(0, MAX_RUNS - 1))
    @precondition(lambda self: self.world.starts)
    def cancel(self, number: int) -> None:
        self.world.cancel(self.world.starts[number % len(self.world.starts)].run_id)

    @rule(edited=st.booleans())
    @precondition(lambda self: self.world.failures())
    def replay(self, edited: bool) -> None:
        self.world.replay(edited=edited)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.runner.run(self.world.settle())
            self.runner.run(self.world.check_clean())
