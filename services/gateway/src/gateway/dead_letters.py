"""Dead letters: read where they are, with what the run tracker knows of them; replayed or dropped on request."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import groupby

from structlog import get_logger

from gateway.domain.callers import Caller
from gateway.domain.letters import (
    Attempt,
    Stands,
    Wanted,
    as_text,
    cursor_of,
    keys_of,
    place,
    plain,
    with_stand,
)
from gateway.reading_locks import ReadingLock
from gateway.replays import Params, Replays
from gateway.tracker_client import TrackerClient
from shared.contracts.dead_letters import (
    DeadLetter,
    DeadLetterPage,
    LetterOutcome,
    LetterResult,
    LettersReply,
)
from shared.contracts.errors import UnavailableError, invalid
from shared.contracts.operations import MAX_ATTEMPTS_ASKED, AttemptStand
from shared.messaging.dead_letters import DEAD_QUEUES, DeadQueue, Letter, open_dead_queue

MAX_BODIES = 8 * 1024 * 1024  # bytes in one answer; one that is larger is told by itself

log = get_logger(__name__)

Act = Callable[[Sequence[Letter], Callable[[Letter], Awaitable[None]]], Awaitable[Sequence[LetterResult]]]


@dataclass(frozen=True, slots=True)
class _Choice:
    """Those of the wanted letters that are on the page, and how many there are in all, and behind the cursor."""

    letters: tuple[DeadLetter, ...]
    total: int
    behind: int

    @property
    def left(self) -> int:
        """How many come after the page."""
        return self.behind - len(self.letters)

    @property
    def next_cursor(self) -> str | None:
        """Where those begin that come after the page; None where there are none."""
        return cursor_of(self.letters[-1]).to_text() if self.letters and self.left else None


class DeadLetters:
    """Reads and treats dead letters, a page at a time.

    Every method raises `dead_letters_busy`, `broker_unreachable` and `topology_missing`. Without the run tracker, what
    it would tell is missing, and letters cannot be chosen by it: `no_answer`.
    """

    def __init__(self, url: str, lock: ReadingLock, tracker: TrackerClient, replays: Replays) -> None:
        self._url = url
        self._lock = lock
        self._tracker = tracker
        self._replays = replays

    def seen_by(self, caller: Caller) -> "DeadLetters":
        """Return what replays in the name of a caller."""
        return DeadLetters(self._url, self._lock, self._tracker, self._replays.seen_by(caller))

    async def page(self, wanted: Wanted, limit: int, *, bodies: bool) -> DeadLetterPage:
        """Return a page of the wanted letters; with their bodies, if these fit."""
        async with self._lock.held():
            choice = await self._choose(wanted, limit)
            if bodies:
                fitting = tuple(_fitting(choice.letters))
                choice = replace(choice, letters=await self._with_bodies(fitting))
        return DeadLetterPage(letters=choice.letters, total=choice.total, next_cursor=choice.next_cursor)

    async def get(self, letter_id: str) -> DeadLetter:
        """Return a letter with its body; raise `dead_letter_not_found`."""
        page = await self.page(Wanted(ids=frozenset({letter_id})), 1, bodies=True)
        if not page.letters:
            raise invalid(
                "dead_letter_not_found",
                f"there is no dead letter {letter_id}",
                where="id",
                fix="list those that there are: weft dead list",
            )
        return page.letters[0]

    async def replay(self, wanted: Wanted, limit: int, params: Params) -> LettersReply:
        """Replay the first of the wanted letters; those that failed stay where they are."""

        async def act(letters: Sequence[Letter], remove: Callable[[Letter], Awaitable[None]]) -> Sequence[LetterResult]:
            return await self._replays.replay(letters, params, remove)

        return await self._treat(wanted, limit, act)

    async def drop(self, wanted: Wanted, limit: int) -> LettersReply:
        """Throw the first of the wanted letters away."""
        return await self._treat(wanted, limit, _drop)

    async def _treat(self, wanted: Wanted, limit: int, act: Act) -> LettersReply:
        results: list[LetterResult] = []
        async with self._lock.held():
            choice = await self._choose(wanted, limit)
            async with aclosing(self._taken(choice.letters)) as taken:
                async for queue, letters in taken:
                    results += await act(letters, queue.remove)
        return LettersReply(results=tuple(results), left=choice.left, next_cursor=choice.next_cursor)

    async def _choose(self, wanted: Wanted, limit: int) -> _Choice:
        candidates: list[DeadLetter] = []
        for name in filter(wanted.may_be_in, DEAD_QUEUES):
            async with open_dead_queue(self._url, name) as queue:
                await queue.read(lambda letter: candidates.append(_told(letter)))
        if wanted.criteria.asks_about_errors:
            candidates = _with_stands(candidates, await self._stands(candidates))
        matching = sorted(filter(wanted.matches, candidates), key=place)
        behind = list(filter(wanted.is_behind, matching))
        chosen = behind[:limit]
        if not wanted.criteria.asks_about_errors:
            chosen = await self._explained(chosen)
        return _Choice(tuple(chosen), len(matching), len(behind))

    async def _explained(self, letters: Sequence[DeadLetter]) -> list[DeadLetter]:
        """Return letters with what the run tracker knows of them, as long as it can be asked."""
        try:
            return _with_stands(letters, await self._stands(letters))
        except UnavailableError as err:
            log.warning("dead letters are told without what the run tracker knows", reason=str(err))
            return list(letters)

    async def _stands(self, letters: Iterable[DeadLetter]) -> Stands:
        keys, stands = keys_of(letters), dict[Attempt, AttemptStand]()
        for first in range(0, len(keys), MAX_ATTEMPTS_ASKED):
            for stand in await self._tracker.find_attempts(keys[first : first + MAX_ATTEMPTS_ASKED]):
                stands[stand.run_id, stand.node_id, stand.attempt] = stand
        return stands

    async def _with_bodies(self, letters: Sequence[DeadLetter]) -> tuple[DeadLetter, ...]:
        told = {letter.id: letter for letter in letters}
        async with aclosing(self._taken(letters)) as taken:
            async for _, found in taken:
                told |= {letter.id: _in_full(told[letter.id], letter) for letter in found}
        return tuple(told.values())

    async def _taken(self, letters: Sequence[DeadLetter]) -> AsyncGenerator[tuple[DeadQueue, Sequence[Letter]]]:
        """Yield these letters in hand, queue by queue; each queue is left when the next one is asked for."""
        for name, group in groupby(letters, key=lambda letter: letter.queue):
            wanted = {letter.id for letter in group}
            async with self._reading(name, wanted) as (queue, found):
                yield queue, found

    @asynccontextmanager
    async def _reading(self, name: str, ids: set[str]) -> AsyncGenerator[tuple[DeadQueue, Sequence[Letter]]]:
        found: list[Letter] = []

        def keep(letter: Letter) -> None:
            if letter.id in ids:
                found.append(letter)

        async with open_dead_queue(self._url, name) as queue:
            await queue.read(keep)
            yield queue, found


async def _drop(letters: Sequence[Letter], remove: Callable[[Letter], Awaitable[None]]) -> Sequence[LetterResult]:
    for letter in letters:
        await remove(letter)
    return [
        LetterResult(id=letter.id, outcome=LetterOutcome.DROPPED, run_id=letter.run_id, node_id=letter.node_id)
        for letter in letters
    ]


def _told(letter: Letter) -> DeadLetter:
    return DeadLetter(
        id=letter.id,
        queue=letter.queue,
        kind=letter.kind,
        message_id=letter.message_id,
        readable=letter.run_id is not None or bool(letter.told_of),
        run_id=letter.run_id,
        run_ids=letter.told_of,
        node_id=letter.node_id,
        node_type=letter.node_type,
        attempt=letter.attempt,
        died_at=letter.death.at,
        died_in=letter.death.queue,
        reason=letter.death.reason,
        deaths=letter.death.count,
        code=letter.death.reason,
        bytes=len(letter.body),
    )


def _in_full(told: DeadLetter, letter: Letter) -> DeadLetter:
    body, encoding = as_text(letter.body)
    return told.model_copy(
        update={
            "exchange": letter.death.exchange,
            "routing_key": letter.death.routing_key,
            "headers": plain(letter.headers),
            "body": body,
            "encoding": encoding,
        }
    )


def _with_stands(letters: Iterable[DeadLetter], stands: Stands) -> list[DeadLetter]:
    return [with_stand(letter, stands) for letter in letters]


def _fitting(letters: Iterable[DeadLetter]) -> list[DeadLetter]:
    """Return the first letters, as many as an answer holds with their bodies; at least one, if there is any."""
    size, fitting = 0, list[DeadLetter]()
    for letter in letters:
        size += letter.bytes
        if fitting and size > MAX_BODIES:
            break
        fitting.append(letter)
    return fitting
