"""Which job is begun: one whose provider may be asked now; the others go back to their queue, and wait there.

With one provider a job in hand waits for its permit, and those behind it wait in the queue: there is nobody whom they
hold up. With several, jobs that wait for one provider must not keep all slots from the jobs of the others. So only some
wait in hand, and those only for a while; any other job is put at the end of its queue, and the next one is looked at.
"""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from pydantic import ValidationError

from llm_worker.calls import Attempt, LedgeredCalls, Line
from llm_worker.domain.directory import Chosen, Directory
from llm_worker.domain.estimate import estimated_tokens_of_job
from llm_worker.permits import Permit
from shared.contracts.commands import NodeExecute
from shared.contracts.errors import InvalidInputError
from shared.contracts.llm_params import LlmParams
from shared.worker.admission import Release, nothing_to_release

# Of a worker's slots so many may be held by jobs that wait for one provider, where there are several.
WAITING_SHARE = 1 / 2
PATIENCE_SECONDS = 5.0  # that such a job waits in hand, before it goes back
# Between jobs that go back at once: one after the other, so that a queue of them does not keep the machine busy.
PACE_SECONDS = 0.02


class ProviderAdmission:
    """Lets a job begin once it has the permit for its first call; implements the kit's `Admission`.

    A job that will fail without a call is let begin at once: it says itself what is wrong. `slots` is how many jobs the
    worker does at a time.
    """

    def __init__(self, calls: LedgeredCalls, directory: Directory, *, default_model: str, slots: int) -> None:
        self._calls = calls
        self._directory = directory
        self._default_model = default_model
        self._may_wait = max(1, int(slots * WAITING_SHARE))
        self._has_several = len(directory.providers) > 1
        self._pace = asyncio.Lock()
        self._limits: set[asyncio.Timeout] = set()
        self._closed = False

    async def admit(self, job: NodeExecute) -> Release | None:
        """Return how to release what the job got, once it may begin; None if it is to go back to its queue."""
        try:
            params = LlmParams.model_validate(job.params)
            chosen = self._directory.choose(params.model or self._default_model)
        except (ValidationError, InvalidInputError):
            return nothing_to_release
        line = self._calls.line(chosen.provider)
        if not await self._until_answering(line):
            return None
        permit = await self._permit(line, estimated_tokens_of_job(job, params))
        return self._reserved(job, chosen, permit) if permit else None

    def close(self) -> None:
        """Let no more jobs begin: those that wait go back to their queues."""
        self._closed = True
        for limit in self._limits:
            limit.reschedule(0)

    def _reserved(self, job: NodeExecute, chosen: Chosen, permit: Permit) -> Release:
        attempt: Attempt = job.run_id, job.node_id, job.attempt
        self._calls.reserve(attempt, permit)
        return lambda: self._calls.release(attempt, chosen.provider)

    async def _until_answering(self, line: Line) -> bool:
        """Wait while the provider is left alone, as long as a job may wait in hand; tell whether it may be asked now.

        A job that would fail at once would use up an attempt that nobody made.
        """
        patience = PATIENCE_SECONDS if self._has_several else None
        try:
            async with asyncio.timeout(0 if self._closed else patience) as limit:
                with self._may_be_closed(limit):
                    await line.until_answering()
        except TimeoutError:
            return False
        return True

    async def _permit(self, line: Line, tokens: int) -> Permit | None:
        if not self._has_several:
            return await self._take(line, tokens, patience=None)
        if line.desk.waiting < self._may_wait:
            return await self._take(line, tokens, patience=PATIENCE_SECONDS)
        async with self._pace:
            return await self._take(line, tokens, patience=PACE_SECONDS)

    async def _take(self, line: Line, tokens: int, *, patience: float | None) -> Permit | None:
        """Return a permit; None if none came in time, or the worker ends."""
        try:
            async with asyncio.timeout(0 if self._closed else patience) as limit:
                with self._may_be_closed(limit):
                    return await line.desk.take(tokens)
        except TimeoutError:
            return None

    @contextmanager
    def _may_be_closed(self, limit: asyncio.Timeout) -> Generator[None]:
        self._limits.add(limit)
        try:
            yield
        finally:
            self._limits.discard(limit)
