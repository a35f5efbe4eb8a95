"""Who is served next: the slots of a worker process, shared by the lanes of its type.

A large run has a few jobs at a time in its own lane and all others in a lower one. So a small run that comes later
finds few jobs before it in the queue. What is left to see to is that it finds a slot:

- The most urgent lane that waits gets the next free slot.
- The low lane never holds all slots: about a quarter stays free for what is more urgent, so that it need not even
  wait for a job to end. A worker with a single slot has none to spare.
- No lane starves: one that was passed over `PATIENCE` times while it waited comes first. With that a lane that
  waits gets at least every eighth slot beside a flood of another lane, every ninth or so beside floods of both.
"""

import asyncio
import math
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress

from shared.contracts.run_options import Lane

LOW_SHARE = 3 / 4
PATIENCE = 7  # slots that may go to others while a lane waits

_URGENCY: Mapping[Lane, int] = {lane: rank for rank, lane in enumerate(Lane)}


def share(lane: Lane, concurrency: int) -> int:
    """Return how many of the slots a lane may hold at the same time: of the upper two all, of suspects one."""
    if lane is Lane.SUSPECT:
        return 1
    if lane is not Lane.LOW or concurrency == 1:
        return concurrency
    return min(math.ceil(LOW_SHARE * concurrency), concurrency - 1)


class Schedule:
    """Decides which lane gets a free slot; without a clock and without waiting."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._held: Counter[Lane] = Counter()
        self._passed_over: Counter[Lane] = Counter()

    def grant(self, waiting: Collection[Lane]) -> Lane | None:
        """Return the one of these lanes that has got a slot now; None if there is no slot for any of them."""
        candidates = sorted(self._candidates(waiting), key=_URGENCY.__getitem__)
        if not candidates:
            return None
        granted = self._overdue(candidates) or candidates[0]
        self._passed_over.update(lane for lane in candidates if lane is not granted)
        self._passed_over[granted] = 0
        self._held[granted] += 1
        return granted

    def give_back(self, lane: Lane) -> None:
        """Note that a lane has one slot less."""
        assert self._held[lane] > 0, f"the {lane} lane holds no slot"
        self._held[lane] -= 1

    def _candidates(self, waiting: Collection[Lane]) -> Iterator[Lane]:
        if self._held.total() < self._concurrency:
            yield from (lane for lane in waiting if self._held[lane] < share(lane, self._concurrency))

    def _overdue(self, candidates: Collection[Lane]) -> Lane | None:
        patient = max(candidates, key=self._passed_over.__getitem__)
        return patient if self._passed_over[patient] >= PATIENCE else None


class SlotsClosedError(Exception):
    """No more slots are given out."""


class Slots:
    """Lets tasks wait for slots; those of one lane get theirs in the order in which they came."""

    def __init__(self, concurrency: int) -> None:
        self._schedule = Schedule(concurrency)
        self._waiting: dict[Lane, deque[asyncio.Future[None]]] = {lane: deque() for lane in Lane}
        self._closed = False

    async def acquire(self, lane: Lane) -> None:
        """Return once the caller holds a slot, which it must release; raise SlotsClosedError if it will get none."""
        if self._closed:
            raise SlotsClosedError
        turn = asyncio.get_running_loop().create_future()
        self._waiting[lane].append(turn)
        self._hand_out()
        try:
            await turn
        except asyncio.CancelledError:
            self._leave(lane, turn)
            raise

    def release(self, lane: Lane) -> None:
        """Give a slot back."""
        self._schedule.give_back(lane)
        self._hand_out()

    def close(self) -> None:
        """Give out no more slots: those who wait for one get SlotsClosedError, those who hold one keep it."""
        self._closed = True
        for lane in Lane:
            while turns := self._turns(lane):
                turns.popleft().set_exception(SlotsClosedError())

    def _hand_out(self) -> None:
        while lane := self._schedule.grant([lane for lane in Lane if self._turns(lane)]):
            self._waiting[lane].popleft().set_result(None)

    def _turns(self, lane: Lane) -> deque[asyncio.Future[None]]:
        """Return who waits, the first of them for sure: a task that was cancelled may not have left yet."""
        turns = self._waiting[lane]
        while turns and turns[0].done():
            turns.popleft()
        return turns

    def _leave(self, lane: Lane, turn: asyncio.Future[None]) -> None:
        """Take back the turn of somebody who does not wait any more: it may have come in the same moment."""
        with suppress(ValueError):
            self._waiting[lane].remove(turn)
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            self.release(lane)
