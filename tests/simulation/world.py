"""The protocol around the real core and the real repository: replicas, broker, workers and clock are simulated."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prometheus_client import CollectorRegistry
from pydantic import JsonValue
from tests.simulation.broker import Broker, CrashError, Publisher

from orchestrator.admission import Admission
from orchestrator.domain.intake import Incoming
from orchestrator.domain.state import RunState
from orchestrator.domain.timers import Timer
from orchestrator.handlers import Orchestrator
from orchestrator.journal import Journal
from orchestrator.reconciler import SUSPICION, SWEEP_SECONDS, Reconciler
from orchestrator.waiting_jobs import WaitingJobs
from shared.contracts.commands import NodeExecute, NodeReplay, RunAdmit, RunCancel, RunStart
from shared.contracts.errors import Problem
from shared.contracts.events import NodeFailed, NodeLasting, NodeQueued, NodeSucceeded, RunFinished, Usage
from shared.contracts.states import FINAL_NODE_STATUSES, NodeStatus, RunStatus
from shared.contracts.values import TextValue
from shared.database import Database
from shared.topology import LETHAL_DEATHS, RESULTS_QUEUE

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
REPLICAS = 2
SETTLING_ROUNDS = 300
_CLEAR = """
DELETE FROM orchestrator.journal; DELETE FROM orchestrator.run; DELETE FROM orchestrator.trigger;
DELETE FROM orchestrator.cache
"""
_GOING = """
SELECT count(*) FROM orchestrator.run
WHERE concurrency_key IS NOT NULL AND admitted_at IS NOT NULL AND finished_at IS NULL
"""
_EVENTS = """
SELECT run_id, event->>'kind' AS kind, event->>'nodeId' AS node_id, event->>'attempt' AS attempt,
    -- An attempt lasts anew with each worker that gets its job, one after the other.
    CASE event->>'kind' WHEN 'node.lasting' THEN event->>'startedAt' END AS began, count(*) AS count
FROM orchestrator.journal GROUP BY 1, 2, 3, 4, 5
"""


class Timers:
    """The timers of one process; they go with it."""

    def __init__(self) -> None:
        self._timers: dict[str, Timer] = {}

    def set(self, timers: Iterable[Timer]) -> None:
        for timer in timers:
            self._timers.setdefault(timer.message.message_id, timer)

    def next_due(self) -> datetime | None:
        return min((timer.due for timer in self._timers.values()), default=None)

    def take_due(self, now: datetime) -> list[Timer]:
        due = {name: timer for name, timer in self._timers.items() if timer.due <= now}
        self._timers = {name: timer for name, timer in self._timers.items() if name not in due}
        return list(due.values())


class Unwatched(WaitingJobs):
    """Tells of no jobs that wait: it would by the real time, and nothing depends on it."""

    def note(self, queued: Sequence[NodeQueued]) -> None:
        pass


class Replica:
    """One orchestrator process: the real handler, journal and reconciler; what it has in memory dies with it."""

    def __init__(self, world: "World", seed: int) -> None:
        self.publisher = Publisher(world.broker, seed)
        self.timers = Timers()
        journal, admission = Journal(world.database), Admission(world.database)
        waiting_jobs = Unwatched(self.publisher)
        self.orchestrator = Orchestrator(
            journal,
            admission,
            self.publisher,
            self.timers,
            waiting_jobs,
            registry=CollectorRegistry(),
            clock=world.time,
        )
        self.reconciler = Reconciler(
            journal,
            admission,
            self.publisher,
            self.timers,
            waiting_jobs=waiting_jobs,
            depth=world.depth,
            clock=world.time,
        )


class World:
    """Everything, with one source of chance; it is given a database of its own."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.broker = Broker()
        self.now = EPOCH
        self.random = random.Random(0)
        self.replicas = [Replica(self, number) for number in range(REPLICAS)]
        self.starts: list[RunStart] = []
        self.results: dict[str, NodeSucceeded | NodeFailed] = {}
        self.deaths: Counter[str] = Counter()
        self.held: list[NodeExecute] = []

    def time(self) -> datetime:
        return self.now

    async def depth(self, queue: str) -> int:
        return len(self.broker.inbox) if queue == RESULTS_QUEUE else len(self.broker.jobs)

    async def clear(self) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(_CLEAR)

    # What may happen

    def start(self, command: RunStart) -> None:
        self.starts.append(command)
        self.broker.publish(command)

    def cancel(self, run_id: UUID) -> None:
        self.broker.publish(RunCancel(run_id=run_id))

    def failures(self) -> list[NodeFailed]:
        """Return what a person may hear of as failed for good, by its worker or by the orchestrator; maybe long ago."""
        told = [*self.results.values(), *self.broker.events]
        return [event for event in told if isinstance(event, NodeFailed) and not event.retryable]

    def replay(self, *, edited: bool) -> None:
        """Let a person replay a node that failed, maybe with other params."""
        params: dict[str, JsonValue] = {"userMessage": "once more", "model": "m"}
        failure = self.random.choice(self.failures())
        is_edited = edited and failure.node_type == "llm"
        self.broker.publish(NodeReplay(**failure.about, params=params if is_edited else None))

    async def deliver(self, replica: int, count: int, *, dies_after: int | None = None, ack_lost: bool = False) -> None:
        """Let a replica handle a batch; if it dies, or its acknowledgement is lost, the batch stays in the queue."""
        batch = self._batch(count)
        if await self._handle(replica, batch, dies_after) and not ack_lost:
            self._acknowledge(batch)
        await self._check_limits()

    async def deliver_to_all(self, count: int) -> None:
        """Let all replicas handle the same batch, as after a connection that was lost before the acknowledgement.

        One after the other, as the lock in the database would have it, so that a history can be played again.
        """
        batch = self._batch(count)
        for number in range(REPLICAS):
            await self._handle(number, batch, None)
        self._acknowledge(batch)

    async def sweep(self, replica: int, *, dies_after: int | None = None) -> None:
        """Let a replica's reconciler look at everything."""
        self.replicas[replica].publisher.dies_after = dies_after
        try:
            await self.replicas[replica].reconciler.sweep()
        except CrashError:
            self._restart(replica)
        else:
            self.replicas[replica].publisher.dies_after = None
        await self._check_limits()

    def pass_time(self, seconds: float) -> None:
        """Let time pass; whatever becomes due in any replica fires there."""
        self.now += timedelta(seconds=seconds)
        for replica in self.replicas:
            for timer in replica.timers.take_due(self.now):
                self.broker.publish(timer.message)

    def work(self, outcome: str) -> None:
        """Let a worker take a job: it succeeds, fails, dies, or holds it without a word (`holds`, `lasts`)."""
        job = self.broker.jobs.pop(self.random.randrange(len(self.broker.jobs)))
        if job.message_id in self.results:
            self._answer(job)
        elif outcome == "dies":
            self._die(job)
        elif outcome in {"holds", "lasts"}:
            self.held.append(job)
            if outcome == "lasts":
                self.broker.inbox.append(NodeLasting(**job.about, at=self.now, started_at=self.now))
        else:
            self.results[job.message_id] = self._result(job, outcome)
            self._answer(job)

    def wake(self) -> None:
        """Let a worker go on that held a job: maybe too late."""
        job = self.held.pop()
        self.results.setdefault(job.message_id, self._result(job, "succeeds"))
        self._answer(job)

    # What must come of it

    async def settle(self) -> None:
        """Let everything go on without faults until all runs have ended and nothing is under way."""
        for _ in range(SETTLING_ROUNDS):
            await self.sweep(0)
            while self.broker.inbox or self.broker.jobs:
                await self.deliver(0, 100)
                while self.broker.jobs:
                    self.work("succeeds")
            if not await self._unfinished():
                return
            self.pass_time(self._pause())
        raise AssertionError(f"runs stick: {await self._unfinished()}")

    async def check_clean(self) -> None:
        """Assert what the system promises: each run ended once, each node once, nothing forgotten, nothing twice."""
        ended: dict[UUID, list[RunFinished]] = defaultdict(list)
        for event in self.broker.events:
            if isinstance(event, RunFinished):
                ended[event.run_id].append(event)
        states = await self._states()
        for command in self.starts:
            finals = ended[command.run_id]
            assert finals, f"the end of {command.run_id} was not told"
            assert all(final == finals[0] for final in finals), "a run ended in two ways"
            self._check_run(finals[0], states[command.run_id])
        await self._check_journal()
        self._check_turns(states)

    def _check_run(self, final: RunFinished, state: RunState) -> None:
        assert state.in_flight == 0
        assert {node_id: node.status for node_id, node in state.nodes.items()} == final.nodes
        assert set(final.nodes.values()) <= FINAL_NODE_STATUSES
        if final.status is RunStatus.CANCELLED:
            return
        for node_id, status in final.nodes.items():
            sources = {edge.source for edge in state.plan.incoming[node_id]}
            before = {final.nodes[source] for source in sources}
            assert (status is NodeStatus.SKIPPED) == bool(before & {NodeStatus.FAILED, NodeStatus.SKIPPED})
            if status is NodeStatus.SUCCESS:
                assert before <= {NodeStatus.SUCCESS}, "a node was executed before what it depends on"
                self._check_inputs(final.run_id, node_id, sources)

    def _check_inputs(self, run_id: UUID, node_id: str, sources: set[str]) -> None:
        for event in self.broker.events:
            if isinstance(event, NodeExecute) and (event.run_id, event.node_id) == (run_id, node_id):
                assert {item.source for items in event.inputs.values() for item in items} == sources

    async def _check_journal(self) -> None:
        async with self.database.transaction() as connection:
            rows = await connection.fetch(_EVENTS)
        ends = {"node.succeeded", "node.failed", "node.expire"}
        per_attempt: Counter[tuple[UUID, str, str]] = Counter()
        for row in rows:
            assert row["count"] == 1 or row["kind"] == "nodes.cached", f"journaled twice: {dict(row)}"
            if row["kind"] in ends:
                per_attempt[row["run_id"], row["node_id"], row["attempt"]] += row["count"]
        assert not per_attempt or max(per_attempt.values()) == 1, "an attempt ended twice"

    async def _check_limits(self) -> None:
        """Assert that no more runs with a key go on than their limit allows: of those admitted, one has not ended.

        Asked of the database after each step: an end may be told late, after a crash, and the next run begin before.
        """
        async with self.database.transaction() as connection:
            going = await connection.fetchval(_GOING)
        assert going <= 1, "more runs with a key go on than their limit allows"

    def _check_turns(self, states: Mapping[UUID, RunState]) -> None:
        """Assert that runs with a key began because it was their turn."""
        for command in self.starts:
            if command.options.concurrency:
                begun_by = states[command.run_id].begun_by
                assert begun_by is None or begun_by.endswith(RunAdmit.kind_name())

    # How it is done

    def _batch(self, count: int) -> list[Incoming]:
        return self.random.sample(self.broker.inbox, min(count, len(self.broker.inbox)))

    def _acknowledge(self, batch: Sequence[Incoming]) -> None:
        for message in batch:
            self.broker.inbox.remove(message)

    async def _handle(self, number: int, batch: Sequence[Incoming], dies_after: int | None) -> bool:
        replica = self.replicas[number]
        replica.publisher.dies_after = dies_after
        try:
            await replica.orchestrator.handle(batch)
        except CrashError:
            self._restart(number)
            return False
        replica.publisher.dies_after = None
        return True

    def _restart(self, number: int) -> None:
        self.replicas[number] = Replica(self, self.random.randrange(1000))

    def _die(self, job: NodeExecute) -> None:
        self.deaths[job.message_id] += 1
        died_too_often = self.deaths[job.message_id] >= LETHAL_DEATHS
        (self.broker.inbox if died_too_often else self.broker.jobs).append(job)

    def _answer(self, job: NodeExecute) -> None:
        self.broker.inbox.append(self.results[job.message_id])

    def _result(self, job: NodeExecute, outcome: str) -> NodeSucceeded | NodeFailed:
        usage = Usage(model="m", input_tokens=1, output_tokens=1)
        if outcome == "succeeds":
            text = f"{job.node_id}({','.join(item.source for items in job.inputs.values() for item in items)})"
            return NodeSucceeded(**job.about, at=self.now, output=TextValue(text=text), usage=usage)
        error = Problem(code=f"llm_{outcome}", message="no")
        retryable = outcome == "retryable" and not job.last_attempt
        return NodeFailed(**job.about, at=self.now, error=error, retryable=retryable, usage=usage)

    def _pause(self) -> float:
        due = [moment for replica in self.replicas if (moment := replica.timers.next_due())]
        soonest = min(((moment - self.now).total_seconds() for moment in due), default=SWEEP_SECONDS)
        return max(min(soonest, SWEEP_SECONDS), SUSPICION.total_seconds())

    async def _unfinished(self) -> list[UUID]:
        return await Journal(self.database).unfinished()

    async def _states(self) -> dict[UUID, RunState]:
        async with Journal(self.database).lock([command.run_id for command in self.starts]) as locked:
            return {run_id: run.state for run_id, run in locked.runs.items() if run.state}
