"""Blocking functions in threads, which nobody can stop."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


async def run_in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return what a function returns that runs in a thread; ends only when the thread has, also when cancelled.

    With `asyncio.to_thread` a task that is cancelled leaves its thread behind: who counts tasks would start more and
    more threads beside those that nobody waits for.
    """
    return await run_in_stoppable_thread(_do_nothing, function, *args, **kwargs)


async def run_in_stoppable_thread(
    stop: Callable[[], None], function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> R:
    """Do as `run_in_thread` does; when cancelled, call `stop`, which may make the function return soon."""
    thread = asyncio.create_task(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        stop()
        await asyncio.gather(thread, return_exceptions=True)
        raise


def _do_nothing() -> None: ...
