"""What a batch of messages makes of the runs it is about: decided and journaled in one transaction, not published."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from structlog import get_logger

from orchestrator import cache
from orchestrator.domain.cache import cache_key, reusable
from orchestrator.domain.evolve import evolve
from orchestrator.domain.intake import Incoming, Intake, decided, rejected, take_in
from orchestrator.domain.state import JournalEvent, NodesCached, RunAccepted
from orchestrator.domain.timers import Timer, timers_of
from orchestrator.journal import Journal, JournaledRun, LockedRuns, Owner
from shared.contracts.commands import NodeExecute, RunStart
from shared.contracts.envelope import Message
from shared.contracts.events import NodeSucceeded, RunQueued, RunStarted
from shared.contracts.states import IllegalTransitionError
from shared.contracts.values import Value
from shared.telemetry.batches import follow

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Decisions:
    """What follows from a batch.

    `messages` are to be published and `timers` to be set; runs with one of the concurrency keys in `freed` may begin;
    `reused` counts the nodes that were not executed, because an earlier output was found.
    """

    messages: Sequence[Message]
    timers: Sequence[Timer]
    freed: frozenset[str]
    reused: int


_FIRST = (RunQueued, RunStarted, NodeExecute)
_RunIntake = tuple[JournaledRun | None, Intake]


async def take_in_batch(journal: Journal, batch: Sequence[Incoming], *, now: datetime) -> Decisions:
    """Take in a batch; when this returns, what is new is committed. Taking in a message again does no harm."""
    return await _take_in_from_memory(journal, batch, now) or await _take_in_locked(journal, batch, now)


async def _take_in_from_memory(journal: Journal, batch: Sequence[Incoming], now: datetime) -> Decisions | None:
    """Take in a batch by what this process knows of its runs; None, and nothing is changed, where that is not all."""
    starts = _starts(batch)
    runs = journal.recall((message.run_id for message in batch), starts)
    if runs is None:
        return None
    try:
        intakes = [_take_in(runs, {}, message, now) for message in batch]
    except IllegalTransitionError:
        return None  # others have written what makes it legal; if not, it is raised again where that is read
    if not all(run.unwritten for run in runs.values()) or _is_about_cached(intakes):
        return None
    decisions = _decisions(batch, intakes)
    return decisions if await journal.write(runs, starts) else None


async def _take_in_locked(journal: Journal, batch: Sequence[Incoming], now: datetime) -> Decisions:
    """Take in a batch in a transaction that first reads what others have written."""
    async with journal.lock((message.run_id for message in batch), _starts(batch)) as locked:
        intakes = [_take_in(locked.runs, locked.owners, message, now) for message in batch]
        reused = await _reuse(locked, intakes)
        await _keep_outputs(locked, intakes)
        return _decisions(batch, intakes, reused)


def _starts(batch: Iterable[Incoming]) -> list[RunStart]:
    return [message for message in batch if isinstance(message, RunStart)]


def _decisions(batch: Sequence[Incoming], intakes: Sequence[_RunIntake], reused: int = 0) -> Decisions:
    messages = [message for cause, told in zip(batch, intakes, strict=True) for message in _decided(cause, *told)]
    return Decisions(
        messages=_most_urgent_first(messages),
        timers=[timer for cause, told in zip(batch, intakes, strict=True) for timer in _timers(cause, *told)],
        freed=frozenset(key for run, intake in intakes if (key := _freed_key(run, intake))),
        reused=reused,
    )


def _take_in(
    runs: Mapping[UUID, JournaledRun], owners: Mapping[UUID, Owner], message: Incoming, now: datetime
) -> _RunIntake:
    owner = owners.get(message.run_id)
    if owner and isinstance(message, RunStart):
        return None, Intake(None, messages=(rejected(message, owner.run_id, same=owner.same, now=now),))
    run = runs.get(message.run_id)
    if run is None or run.pruned:
        log.warning("ignored: its run is not under way", message_id=message.message_id)
        return None, Intake(None)
    intake = take_in(run.state, message, now=now)
    if intake.event and intake.is_new:
        run.advance(intake.state, intake.event)
    else:
        log.info("repeated or late", message_id=message.message_id)
    return run, intake


def _is_about_cached(intakes: Iterable[_RunIntake]) -> bool:
    """Tell whether outputs are to be looked for, or kept, in the cache: that takes the transaction."""
    events = [(run.state, intake.event) for run, intake in intakes if run and run.state and intake.event]
    return any(
        reusable(state, event.message_id, after=0)
        or (isinstance(event, NodeSucceeded) and cache_key(state, event.node_id))
        for state, event in events
    )


async def _reuse(locked: LockedRuns, intakes: Iterable[_RunIntake]) -> int:
    """Let nodes succeed at once whose outputs are known, and those behind them, until none is left; return how many."""
    searches = [_Search(run, intake.event) for run, intake in intakes if run and intake.event and intake.is_new]
    reused = 0
    while wanted := {key for search in searches for key in search.look()}:
        known = await cache.find(locked.connection, wanted)
        reused += sum(search.take(known) for search in searches)
    return reused


class _Search:
    """The nodes that an event made ready, looked at once each for outputs that may be reused."""

    def __init__(self, run: JournaledRun, event: JournalEvent) -> None:
        self._run, self._event = run, event
        self._looked_at = 0
        self._wanted: dict[str, str] = {}

    def look(self) -> Iterable[str]:
        """Return the keys to look for, of the nodes that were made ready since the last look."""
        assert self._run.state
        self._wanted = reusable(self._run.state, self._event.message_id, after=self._looked_at)
        self._looked_at = len(self._run.state.caused.get(self._event.message_id, ()))
        return self._wanted.values()

    def take(self, known: Mapping[str, Value]) -> int:
        """Let the nodes succeed whose outputs are known by their keys; return how many."""
        outputs = {node_id: known[key] for node_id, key in self._wanted.items() if key in known}
        if outputs:
            cause = self._event
            found = NodesCached(run_id=cause.run_id, at=cause.at, cause=cause.message_id, outputs=outputs)
            self._run.advance(evolve(self._run.state, found), found)
        return len(outputs)


async def _keep_outputs(locked: LockedRuns, intakes: Iterable[_RunIntake]) -> None:
    """Keep the outputs of nodes that succeeded just now, where they may be reused."""
    outputs: dict[str, Value] = {}
    for run, intake in intakes:
        if run and run.state and intake.is_new and isinstance(intake.event, NodeSucceeded):
            key = cache_key(run.state, intake.event.node_id)
            outputs |= {key: intake.event.output} if key else {}
    if outputs:
        await cache.keep(locked.connection, outputs)


def _most_urgent_first(messages: Sequence[Message]) -> Sequence[Message]:
    """Return the messages in the order in which they are best published.

    Jobs first, since nothing goes on before them, each behind the word that its run has begun;
    those of runs that have little to say before those of large ones.
    """
    counts = Counter(message.run_id for message in messages)
    return sorted(messages, key=lambda message: (not isinstance(message, _FIRST), counts[message.run_id]))


def _decided(cause: Incoming, run: JournaledRun | None, intake: Intake) -> Sequence[Message]:
    messages = decided(run and run.state, intake)
    follow(cause, messages)
    return messages


def _timers(cause: Incoming, run: JournaledRun | None, intake: Intake) -> Sequence[Timer]:
    """Return the timers of what an event changed; it may be the first that this process knows of the run."""
    if run is None or run.state is None or intake.event is None or not intake.is_new:
        return ()
    timers = list(timers_of(run.state, run.state.caused.get(intake.event.message_id, ())))
    follow(cause, (timer.message for timer in timers))
    return timers


def _freed_key(run: JournaledRun | None, intake: Intake) -> str | None:
    """Return the key of a run whose acceptance or end may let another begin."""
    if run is None or run.state is None or intake.event is None:
        return None
    may_admit = isinstance(intake.event, RunAccepted) or run.state.finished_by == intake.event.message_id
    return run.state.accepted.command.concurrency_key if may_admit else None
