"""What a batch of messages makes of the runs it is about: decided and journaled in one transaction, not published."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from structlog import get_logger

from orchestrator import cache
from orchestrator.domain.cache import cache_key, reusable
from orchestrator.domain.evolve import evolve
from orchestrator.domain.intake import Incoming, Intake, decided, rejected, take_in
from orchestrator.domain.state import JournalEvent, NodesCached, RunAccepted
from orchestrator.domain.timers import Timer, timers_of
from orchestrator.journal import Journal, JournaledRun, LockedRuns
from shared.contracts.commands import NodeExecute, RunStart
from shared.contracts.envelope import Message
from shared.contracts.events import NodeSucceeded, RunQueued, RunStarted
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
    starts = [message for message in batch if isinstance(message, RunStart)]
    async with journal.lock((message.run_id for message in batch), starts) as locked:
        intakes = [_take_in(locked, message, now) for message in batch]
        reused = await _reuse(locked, intakes)
        await _keep_outputs(locked, intakes)
        messages = [message for cause, told in zip(batch, intakes, strict=True) for message in _decided(cause, *told)]
    return Decisions(
        messages=_most_urgent_first(messages),
        timers=[timer for cause, told in zip(batch, intakes, strict=True) for timer in _timers(cause, *told)],
        freed=frozenset(key for run, intake in intakes if (key := _freed_key(run, intake))),
        reused=reused,
    )


def _take_in(locked: LockedRuns, message: Incoming, now: datetime) -> _RunIntake:
    owner = locked.owners.get(message.run_id)
    if owner and isinstance(message, RunStart):
        return None, Intake(None, messages=(rejected(message, owner.run_id, same=owner.same, now=now),))
    run = locked.runs.get(message.run_id)
    if run is None or run.pruned:
        log.warning("ignored: its run is not under way", message_id=message.message_id)
        return None, Intake(None)
    intake = take_in(run.state, message, now=now)
    if intake.event and intake.is_new:
        run.advance(intake.state, intake.event)
    else:
        log.info("repeated or late", message_id=message.message_id)
    return run, intake


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
