"""The reconciler: looks at all runs that are under way, at once and then regularly, so that none sticks.

It sets the timers that this process does not know of (a restart, a replica that died, a time that was far ahead),
admits runs whose turn has come, tells of the jobs that wait (once: the process before it may have died with the word
held back), and gives up attempts whose jobs are gone without a word: that is, nobody has told of
them for longer than an attempt may take, and they do not wait in a queue either.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from prometheus_client import CollectorRegistry, Gauge
from structlog import get_logger

from orchestrator.admission import Admission
from orchestrator.alarm import SetsTimers
from orchestrator.clock import Clock, utc_now
from orchestrator.domain.decide import queued_since
from orchestrator.domain.state import RunState
from orchestrator.domain.timers import expiry, timers_of, unconfirmed
from orchestrator.journal import Journal, JournaledRun
from orchestrator.waiting_jobs import WaitingJobs
from shared.contracts.commands import NodeExpire, RunAdmit
from shared.contracts.envelope import Message
from shared.contracts.errors import UnavailableError
from shared.contracts.run_options import Lane
from shared.contracts.states import RunStatus
from shared.messaging.publisher import MessagePublisher
from shared.topology import RESULTS_QUEUE

SWEEP_SECONDS = 30.0
SWEEP_BATCH = 100  # runs that are locked at a time
# How long a job must have been missed: a worker that has just taken it tells so within a second.
SUSPICION = timedelta(seconds=10)
RETOLD = timedelta(minutes=2)  # of jobs that were given out so long ago it is told again when the process begins

Depth = Callable[[str], Awaitable[int]]  # of a queue: messages that wait

log = get_logger(__name__)


class Reconciler:
    """Compares what runs wait for with what is there."""

    def __init__(
        self,
        journal: Journal,
        admission: Admission,
        publisher: MessagePublisher,
        alarm: SetsTimers,
        *,
        waiting_jobs: WaitingJobs,
        depth: Depth,
        registry: CollectorRegistry | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self._journal = journal
        self._admission = admission
        self._publisher = publisher
        self._alarm = alarm
        self._waiting_jobs = waiting_jobs
        self._depth = depth
        self._clock = clock
        self._open_runs = Gauge(
            "weft_open_runs",
            "Runs that have not ended, on whatever replica, as of the last sweep",
            registry=registry,
        )
        self._is_first_sweep = True
        self._missed: dict[str, datetime] = {}
        self._depths: dict[str, int] = {}

    async def run(self) -> None:
        """Look at all runs, at once and then regularly, for ever."""
        while True:
            try:
                await self.sweep()
            except UnavailableError as err:
                log.warning("runs not looked at, will be later", reason=str(err))
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> None:
        """Look at all runs that are under way, once."""
        await self._admit()
        seen = self._missed
        self._missed, self._depths = {}, {}
        run_ids = await self._journal.unfinished()
        self._open_runs.set(len(run_ids))
        for start in range(0, len(run_ids), SWEEP_BATCH):
            await self._look_at(run_ids[start : start + SWEEP_BATCH], seen)
        self._is_first_sweep = False

    async def _admit(self) -> None:
        now = self._clock()
        admitted = await self._admission.admit(await self._admission.waited_for())
        await self._publisher.publish_all(RunAdmit(run_id=run_id, at=now) for run_id in admitted)

    async def _look_at(self, run_ids: Sequence[UUID], seen: dict[str, datetime]) -> None:
        """Look at runs together; if that fails, one by one, so that a journal nobody can read harms only its run."""
        try:
            async with self._journal.lock(run_ids) as locked:
                runs = [run for run in locked.runs.values() if run.state]
        except UnavailableError:
            raise
        except Exception:
            if len(run_ids) == 1:
                log.exception("the journal of a run cannot be read", run_id=str(run_ids[0]))
                return
            for run_id in run_ids:
                await self._look_at([run_id], seen)
            return
        await self._reconcile(runs, seen)

    async def _reconcile(self, runs: Iterable[JournaledRun], seen: dict[str, datetime]) -> None:
        messages: list[Message] = []
        now = self._clock()
        for run in runs:
            assert run.state
            self._alarm.set(timers_of(run.state))
            if self._is_first_sweep:
                self._waiting_jobs.note(queued_since(run.state, now - RETOLD))
            if run.admitted and run.state.status is RunStatus.QUEUED:
                messages.append(RunAdmit(run_id=run.state.accepted.run_id, at=now))
            messages += [expire async for expire in self._lost(run.state, now, seen)]
        await self._publisher.publish_all(messages)

    async def _lost(self, state: RunState, now: datetime, seen: dict[str, datetime]) -> AsyncGenerator[NodeExpire]:
        for node_id in unconfirmed(state, now):
            lost = expiry(state, node_id, now)
            lanes = (state.nodes[node_id].lane, Lane.SUSPECT)
            queues = (*map(state.plan.node_type(node_id).job_queue, lanes), RESULTS_QUEUE)
            if any([await self._holds_messages(queue) for queue in queues]):
                continue
            since = self._missed[lost.message_id] = seen.get(lost.message_id, now)
            if now - since >= SUSPICION:
                log.warning("a job is gone without a word", message_id=lost.message_id)
                yield lost

    async def _holds_messages(self, queue: str) -> bool:
        """Tell whether messages wait in a queue, as far as this sweep knows; of one that cannot be told, they may."""
        if queue not in self._depths:
            try:
                self._depths[queue] = await self._depth(queue)
            except UnavailableError as err:
                log.warning("a queue cannot be looked at", queue=queue, reason=str(err))
                self._depths[queue] = 1
        return self._depths[queue] > 0
