"""Whether the broker has the topology as it is wanted: what is missing, what is another. Nothing is made or changed."""

from collections.abc import AsyncGenerator
from typing import NamedTuple

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelClosed, ChannelNotFoundEntity

from shared.topology import EXCHANGES, QUEUES, STREAM, Queue


class Difference(NamedTuple):
    """An exchange or a queue that is not as it is wanted; `reason` is the broker's, None where it is missing."""

    what: str
    name: str
    reason: str | None = None

    def __str__(self) -> str:
        return f"{self.what} {self.name} {'is missing' if self.reason is None else f'is another: {self.reason}'}"


async def differences(connection: AbstractConnection) -> AsyncGenerator[Difference]:
    """Yield what is missing or has other arguments. Bindings cannot be asked for; `weft setup` makes them anew."""
    for name, kind in EXCHANGES.items():
        if found := await _of_exchange(connection, name, kind):
            yield found
    for queue in (*QUEUES, STREAM):
        if found := await _of_queue(connection, queue):
            yield found


async def _of_exchange(connection: AbstractConnection, name: str, kind: str) -> Difference | None:
    # A channel for each: the broker closes the one on which something was not as it was said.
    try:
        async with connection.channel() as channel:
            await channel.get_exchange(name, ensure=True)
            await channel.declare_exchange(name, kind, durable=True)
    except ChannelClosed as err:
        return _difference("exchange", name, err)
    return None


async def _of_queue(connection: AbstractConnection, queue: Queue) -> Difference | None:
    try:
        async with connection.channel() as channel:
            await channel.declare_queue(queue.name, passive=True)
            await channel.declare_queue(queue.name, durable=True, arguments=dict(queue.arguments))
    except ChannelClosed as err:
        return _difference("queue", queue.name, err)
    return None


def _difference(what: str, name: str, err: ChannelClosed) -> Difference:
    return Difference(what, name, None if isinstance(err, ChannelNotFoundEntity) else str(err))
