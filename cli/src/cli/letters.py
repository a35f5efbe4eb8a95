"""Treats dead letters page by page, as fast as is allowed, and tells of each on the way."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

from shared.contracts.dead_letters import MAX_LETTERS, LettersReply
from shared.contracts.errors import invalid

_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:/s)?")

Send = Callable[[Mapping[str, Any]], Awaitable[LettersReply]]


def read_rate(text: str) -> float:
    """Return the letters per second that `20/s` or `20` allows; raise `invalid_option`."""
    match = _RATE.fullmatch(text)
    rate = float(match[1]) if match else 0.0
    if rate <= 0:
        raise invalid("invalid_option", f"{text!r} is no rate", where="--rate", fix="write --rate 20/s")
    return rate


async def treat_all(
    send: Send, selection: Mapping[str, Any], *, rate: float | None, most: int | None
) -> AsyncGenerator[LettersReply]:
    """Yield what became of the selected letters, request by request, until none is left, or so many were treated.

    Who stops in the middle loses nothing: what was not treated is where it was.
    """
    cursor, treated, loop = None, 0, asyncio.get_running_loop()
    while most is None or treated < most:
        began = loop.time()
        room = MAX_LETTERS if most is None else min(MAX_LETTERS, most - treated)
        limit = room if rate is None else max(1, min(room, int(rate)))
        reply = await send({**selection, "limit": limit, **({"cursor": cursor} if cursor else {})})
        treated += len(reply.results)
        yield reply
        cursor = reply.next_cursor
        if cursor is None:
            return
        if rate is not None:
            await asyncio.sleep(max(0.0, len(reply.results) / rate - (loop.time() - began)))
