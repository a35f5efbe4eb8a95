"""What every call of a model goes through: the circuit breaker and the limits of its provider, and the ledger."""

import asyncio
from collections.abc import Coroutine, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Any, TypeAlias
from uuid import UUID, uuid4

from structlog import get_logger

from llm_worker.domain.breaker import Breaker
from llm_worker.domain.endings import CANCELLED, DEFECT, Ending, answered, failed, given_up
from llm_worker.domain.estimate import estimated_tokens
from llm_worker.domain.model import Ask, ModelCall, ModelError, ModelErrorCode, ModelReply
from llm_worker.domain.provider import Provider
from llm_worker.ledger import Known, Ledger
from llm_worker.patience import FIRST_PAUSE, patiently
from llm_worker.permits import Permit, PermitDesk
from llm_worker.prices import frozen_price

LONGEST_LOOK = 1.0  # seconds between looks at a call that another process has under way
CLOSE_SECONDS = 5.0  # that the end of the process waits for calls to be written down
_UNANSWERED = frozenset({ModelErrorCode.UNAVAILABLE, ModelErrorCode.TIMEOUT})

Attempt: TypeAlias = tuple[UUID, str, int]

log = get_logger(__name__)


@dataclass(slots=True)
class Use:
    """What became of a permit: whether a call was made with it, and how that ended."""

    made: bool = False
    ending: Ending | None = None

    @property
    def tokens(self) -> int | None:
        """How many tokens the call took; None where that is not known."""
        usage = self.ending.usage if self.ending else None
        if usage is None or usage.input_tokens is None or usage.output_tokens is None:
            return None
        return usage.input_tokens + usage.output_tokens


class Line:
    """What this process has to do with one provider: its permits and its circuit breaker."""

    def __init__(self, provider: Provider, desk: PermitDesk, breaker: Breaker) -> None:
        self.provider = provider
        self.desk = desk
        self.breaker = breaker

    def check(self) -> None:
        """Raise ModelError `llm_circuit_open` while the provider is left alone."""
        if wait := self.breaker.wait:
            name = self.provider.name
            message = f"{name} did not answer several times in a row, and is left alone for {ceil(wait)} s"
            raise ModelError(ModelErrorCode.CIRCUIT_OPEN, message, retryable=True, retry_after=wait)

    async def until_answering(self) -> None:
        """Return when the provider may be asked: at once, unless it is left alone."""
        left = self.breaker.wait
        while left:
            await asyncio.sleep(left)
            left = self.breaker.wait

    @contextmanager
    def using(self, permit: Permit) -> Generator[Use]:
        """Yield what is to be told of a permit, which is given back on leaving; raise as `check` does."""
        use, call = Use(), None
        try:
            self.check()
            call = self.breaker.begin()
            yield use
        finally:
            if use.made:
                self.desk.give_back(permit, tokens=use.tokens)
            else:
                self.desk.give_back_unused(permit)
            if call is not None:
                self._judge(call, use.ending)

    def _judge(self, call: int, ending: Ending | None) -> None:
        if ending is None or (ending.error is None and ending.reply is None):
            self.breaker.undecided(call)
        elif ending.error and ending.error.code in _UNANSWERED:
            self.breaker.unanswered(call)
        else:
            self.breaker.answered()


class LedgeredCalls:
    """Makes calls that are written down first, and once each; implements `ModelCalls`.

    A reply is in the ledger before `complete` returns it, and so is an error before it is raised: the same call again
    gets the same, whatever process asks, and no model is asked. What was under way in a process that died is `unknown`
    in the ledger, and is made again; in a process that lives, it is waited for. While the database is away, nothing
    is asked, and what was answered is not returned.
    """

    def __init__(self, ledger: Ledger, lines: Iterable[Line]) -> None:
        self._ledger = ledger
        self._lines = {line.provider.name: line for line in lines}
        self._reserved: dict[Attempt, Permit] = {}
        self._background: set[asyncio.Task[Any]] = set()

    def line(self, provider: Provider) -> Line:
        """Return what this process has to do with a provider."""
        return self._lines[provider.name]

    def reserve(self, attempt: Attempt, permit: Permit) -> None:
        """Let the first call of an attempt use this permit."""
        self._reserved[attempt] = permit

    def release(self, attempt: Attempt, provider: Provider) -> None:
        """Give back the permit that was reserved for an attempt, if it was not used."""
        if permit := self._reserved.pop(attempt, None):
            self.line(provider).desk.give_back_unused(permit)

    async def complete(self, call: ModelCall, ask: Ask) -> ModelReply:
        """Return the reply to a call, from `ask` or as it was given before; raise ModelError.

        Besides those of `ask` that is `llm_circuit_open`, without a call and without a row.
        """
        if known := await patiently(lambda: self._ledger.find(call)):
            return _told(known)
        line = self.line(call.provider)
        line.check()
        with line.using(await self._permit(line, call)) as use:
            row = await self._open(call)
            if not isinstance(row, UUID):
                return _told(row)
            return await self._make(call, ask, row, use)

    async def close(self) -> None:
        """Wait a little for what is still to be written down; what is not then will be `unknown`."""
        if self._background:
            _, late = await asyncio.wait(self._background, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _permit(self, line: Line, call: ModelCall) -> Permit:
        reserved = self._reserved.pop((call.run_id, call.node_id, call.attempt), None)
        return reserved or await line.desk.take(estimated_tokens(call.request))

    async def _open(self, call: ModelCall) -> Known | UUID:
        """Return the row for a call; or what has come of the call in another process that had it under way."""
        call_id, pause = uuid4(), FIRST_PAUSE
        while True:
            opening = self._start(patiently(lambda: self._ledger.open(call, call_id)))
            try:
                opened = await asyncio.shield(opening)
            except asyncio.CancelledError:
                self._start(self._undo(opening))
                raise
            if opened is not None:
                return opened
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_LOOK)

    async def _undo(self, opening: "asyncio.Task[Known | UUID | None]") -> None:
        """Remove a row whose call will not be made."""
        opened = await opening
        if isinstance(opened, UUID):
            await patiently(lambda: self._ledger.forget(opened))

    async def _make(self, call: ModelCall, ask: Ask, row: UUID, use: Use) -> ModelReply:
        use.made, use.ending = True, given_up(DEFECT)
        try:
            reply = await ask()
            use.ending = answered(reply)
        except ModelError as err:
            use.ending = failed(err)
            raise
        except asyncio.CancelledError:
            use.ending = given_up(CANCELLED)
            raise
        finally:
            await self._settle(call, row, use.ending)
        return reply

    async def _settle(self, call: ModelCall, row: UUID, ending: Ending) -> None:
        """Write down how a call ended; who was cancelled does not wait for it."""
        price = frozen_price(ending.usage, call.provider.base_url) if ending.usage else None
        settling = self._start(patiently(lambda: self._ledger.settle(row, ending, price)))
        if ending.error_code != CANCELLED:
            await asyncio.shield(settling)

    def _start(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._background.discard(task)
        if not task.cancelled() and (err := task.exception()):
            log.error("a call could not be written down", exc_info=err)


def _told(known: Known) -> ModelReply:
    if isinstance(known, ModelError):
        raise known
    return known
