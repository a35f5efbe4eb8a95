"""The tracker agrees with the orchestrator on how a run ended, whatever went wrong and in what order it hears of it.

The real core decides; workers, which may be slow, may share a job or come too late, are played.
"""

import random
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core import NOW, RUN_ID, Core, ask, chain, failed, succeeded
from tests.unit.histories import History

from orchestrator.domain.timers import expiry
from shared.contracts.commands import NodeExecute, NodeRetry, RunCancel, RunExpire
from shared.contracts.events import EVENTS, NodeLasting, NodeLate, NodeStarted, RunFinished
from shared.contracts.graph import WorkflowGraph
from shared.contracts.retries import RetryPolicy
from shared.contracts.states import NodeStatus

STEPS = 40


class Play:
    """A run with its workers: each step one of them, or the clock, or a person, does something."""

    def __init__(self, chance: random.Random):
        self._chance = chance
        self._now = NOW
        branch = chain("a", "b", retry=RetryPolicy(max_attempts=2))
        nodes = (*branch.nodes, ask("c", retry=RetryPolicy(max_attempts=3)), ask("d"))
        self.core = Core(WorkflowGraph(nodes=nodes, edges=branch.edges))
        self.told = []  # by workers
        self._on_the_way = []
        self.core.start()

    def run(self):
        """Play on until the run has ended and every result has reached the orchestrator, in time or late."""
        steps = [*[self._work] * 3, *[self._arrive] * 4, *[self._retry] * 2, self._expire]
        for _ in range(STEPS):
            self._chance.choice(steps)()
        if not self.core.state.finished_by:
            kind = self._chance.choice([RunCancel(run_id=RUN_ID), RunExpire(run_id=RUN_ID, at=self._tick())])
            self.core.deliver(kind, now=self._tick())
        while self._on_the_way:
            self._arrive()
        return self

    @property
    def events(self):
        return self.told + [message for message in self.core.published if isinstance(message, EVENTS)]

    def _tick(self):
        self._now += timedelta(seconds=1)
        return self._now

    def _work(self):
        """Let a worker do any of the jobs, maybe one that another worker has done or is doing."""
        job = self._chance.choice(self.core.told(NodeExecute))
        started_at = self._tick()
        worker = f"host:{len(self.told)}"
        if self._chance.random() < 0.5:
            self.told.append(NodeStarted(**job.about, at=started_at, worker=worker))
        if self._chance.random() < 0.5:
            self._tell(NodeLasting(**job.about, at=self._tick(), started_at=started_at))
        may_retry = not job.last_attempt and self._chance.random() < 0.5
        success, failure = succeeded(job, f"{job.node_id}{job.attempt}"), failed(job, retryable=may_retry)
        result = success if self._chance.random() < 0.7 else failure
        self._tell(result.model_copy(update={"at": self._tick(), "started_at": started_at, "worker": worker}))

    def _tell(self, message):
        self.told.append(message)
        self._on_the_way.append(message)

    def _arrive(self):
        if self._on_the_way:
            index = self._chance.randrange(len(self._on_the_way))
            self.core.deliver(self._on_the_way.pop(index), now=self._tick())

    def _retry(self):
        for node_id, node in self.core.state.nodes.items():
            if node.status is NodeStatus.RETRYING and node.retry_at:
                about = self.core.state.attempt_at(node_id)
                about["attempt"] += 1
                self.core.deliver(NodeRetry(**about, at=self._tick()), now=self._now)

    def _expire(self):
        queued = [node_id for node_id, node in self.core.state.nodes.items() if node.status is NodeStatus.QUEUED]
        if queued:
            self.core.deliver(expiry(self.core.state, self._chance.choice(queued), self._tick()), now=self._now)


@given(st.integers(0, 2**32), st.integers(1, 100))
def test_the_history_of_a_run_is_what_the_orchestrator_decided(seed, size):
    chance = random.Random(seed)
    play = Play(chance).run()
    events = play.events * 2
    chance.shuffle(events)
    history = History(*(events[start : start + size] for start in range(0, len(events), size)))
    assert history.run
    assert history.run.status is play.core.state.status
    for node_id, node in play.core.state.nodes.items():
        shown = history.node(node_id)
        assert (shown.status, shown.output) == (node.status, node.output)
        assert (shown.error is not None) == (node.status is NodeStatus.FAILED)
        assert (shown.finished_at is not None) == bool(node.is_final)
        assert len(shown.late) == len(
            {event.to_json() for event in play.core.told(NodeLate) if event.node_id == node_id}
        )
    assert play.core.told(RunFinished)
    in_order = History(play.events)
    assert (history.run, history.nodes) == (in_order.run, in_order.nodes)
