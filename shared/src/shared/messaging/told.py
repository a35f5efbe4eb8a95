"""Handling what messages tell, be they bundles or single: together, and if that fails, each by itself."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from structlog import get_logger

from shared.contracts.bundles import Told
from shared.contracts.envelope import Message
from shared.contracts.errors import UnavailableError

M = TypeVar("M", bound=Message)
Handles = Callable[[Sequence[M]], Awaitable[None]]

log = get_logger(__name__)


def handling_told(handle: Handles[M]) -> Callable[[Sequence[Told[M]]], Awaitable[None]]:
    """Return how to handle a batch of what was told, by how to handle messages.

    It raises what `handle` raises. Of what comes alone, all is handled that can be; it raises if that is not all.
    """

    async def handle_told(batch: Sequence[Told[M]]) -> None:
        messages = [message for told in batch for message in told.messages]
        try:
            await handle(messages)
        except UnavailableError:
            raise
        except Exception:
            if len(batch) > 1 or len(messages) == 1:
                raise
            await _handle_one_by_one(handle, messages)
        if unreadable := sum(told.unreadable for told in batch):
            raise ValueError(f"{unreadable} messages cannot be read")

    return handle_told


async def _handle_one_by_one(handle: Handles[M], messages: Iterable[M]) -> None:
    failures: list[Exception] = []
    for message in messages:
        try:
            await handle([message])
        except UnavailableError:
            raise
        except Exception as err:
            log.exception("a message of several cannot be handled", message_id=message.message_id)
            failures.append(err)
    if failures:
        raise failures[0]
