"""`python -m cli.launch tests.chaos.crashing_orchestrator POINT`: an orchestrator that dies when it hurts most.

Each process that dies is followed at once by another, forked from a parent that has imported everything. So a crash and
the restart behind it take a fraction of a second, and yet the process is a real one: its connections are cut, and
whatever it had in memory is gone. A process that begins after the signal CRASH_NO_MORE lives.
"""

import os
import signal
import sys
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from random import SystemRandom
from types import FrameType
from typing import Any
from unittest.mock import patch

from orchestrator import main as orchestrator
from shared.contracts.envelope import Message
from shared.messaging.publisher import MessagePublisher, open_publisher

UNPUBLISHED = "unpublished"  # after the journal's COMMIT, before all that follows from it is published
UNACKNOWLEDGED = "unacknowledged"  # after the last confirm, before the batch is acknowledged
CRASHED = 70  # exit code
CRASHED_LINE = "crashed, and begins again\n"
CRASH_NO_MORE = signal.SIGUSR1
LONGEST_LIFE = 4  # batches with messages to publish that a process may handle; it dies at the last of them

_chance = SystemRandom()


class DyingPublisher:
    """Publishes until the process has to die."""

    def __init__(self, publisher: MessagePublisher, point: str) -> None:
        self._publisher = publisher
        self._point = point
        self._left = _chance.randint(1, LONGEST_LIFE)

    async def publish(self, message: Message) -> None:
        await self._publisher.publish(message)

    async def publish_all(self, messages: Iterable[Message]) -> None:
        batch = list({message.message_id: message for message in messages}.values())
        self._left -= bool(batch)
        if batch and self._left == 0:
            # Confirms are pipelined: any number may have reached the broker before the end, the first ones first.
            most = len(batch) if self._point == UNACKNOWLEDGED else _chance.choice([0, _chance.randrange(len(batch))])
            await self._publisher.publish_all(batch[:most])
            os._exit(CRASHED)
        await self._publisher.publish_all(batch)

    def publish_unawaited(self, message: Message) -> None:
        self._publisher.publish_unawaited(message)


def main() -> None:
    """Crash at that point, again and again; then be an orchestrator."""
    parent = _Parent(sys.argv[2])
    while parent.goes_on:
        code = parent.run_child()
        if code != CRASHED:
            sys.exit(code)
        sys.stdout.write(CRASHED_LINE)
        sys.stdout.flush()
    orchestrator.main()


class _Parent:
    """Has one child at a time, each of them an orchestrator."""

    def __init__(self, point: str) -> None:
        self._point = point
        self.goes_on = True
        signal.signal(CRASH_NO_MORE, self._end)

    def run_child(self) -> int:
        """Return the exit code of a child, once it has died."""
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            _be_a_dying_orchestrator(self._point)
        signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self.goes_on = False


def _be_a_dying_orchestrator(point: str) -> None:
    @asynccontextmanager
    async def open_dying_publisher(*arguments: Any, **options: Any) -> AsyncGenerator[DyingPublisher]:
        async with open_publisher(*arguments, **options) as publisher:
            yield DyingPublisher(publisher, point)

    try:
        with patch.object(orchestrator, "open_publisher", open_dying_publisher):
            orchestrator.main()
    except SystemExit as end:
        os._exit(int(end.code or 0))
    os._exit(0)
