"""What a job tells while it is under way, in pieces that are few enough to be watched."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from shared.contracts.commands import NodeExecute
from shared.contracts.events import NodeProgress

MAX_PER_SECOND = 20  # pieces of one job


class Progress:
    """Tells the pieces of a job's text, and the share of its work that is done; to be called from any thread.

    What comes within a moment (`1 / MAX_PER_SECOND`) is told together at its end. What has not been told when the job
    ends is not told any more: its result holds all. So a short answer costs no message of its own.
    """

    def __init__(self, job: NodeExecute, tell: Callable[[NodeProgress], None]) -> None:
        self._job = job
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._text = ""
        self._done: float | None = None
        self._offset = 0
        self._sequence = 0
        self._next: asyncio.TimerHandle | None = None
        self._closed = False

    def text(self, piece: str) -> None:
        """Tell the next piece of the text."""
        self._loop.call_soon_threadsafe(self._add, piece, None)

    def done(self, share: float) -> None:
        """Tell which share of the work is done, from 0 to 1."""
        self._loop.call_soon_threadsafe(self._add, "", share)

    def close(self) -> None:
        """Tell no more: the job has ended."""
        self._closed = True
        if self._next:
            self._next.cancel()

    def _add(self, piece: str, share: float | None) -> None:
        if self._closed:
            return
        self._text += piece
        self._done = self._done if share is None else share
        if self._next is None:
            self._next = self._loop.call_later(1 / MAX_PER_SECOND, self._flush)

    def _flush(self) -> None:
        self._next = None
        self._sequence += 1
        self._tell(
            NodeProgress(
                **self._job.about,
                at=datetime.now(UTC),
                sequence=self._sequence,
                text=self._text,
                offset=self._offset,
                done=self._done,
            )
        )
        self._offset += len(self._text)
        self._text, self._done = "", None
