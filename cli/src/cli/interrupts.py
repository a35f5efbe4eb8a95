"""Signals that end a command, as one KeyboardInterrupt, so that what follows it is not interrupted in turn."""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interrupted_once() -> Generator[None]:
    """Raise KeyboardInterrupt at the first SIGINT, SIGTERM or SIGHUP, and ignore all that come after it."""
    before = {number: signal.signal(number, _interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_interrupts() -> None:
    """Ignore those signals from now on, until `interrupted_once` ends."""
    for number in _SIGNALS:
        # Not SIG_IGN, which processes that are being started would inherit: they could not be stopped.
        signal.signal(number, _do_nothing)


def _interrupt(_: int, __: FrameType | None) -> None:
    ignore_interrupts()
    raise KeyboardInterrupt


def _do_nothing(_: int, __: FrameType | None) -> None:
    """Take a signal without an effect."""
