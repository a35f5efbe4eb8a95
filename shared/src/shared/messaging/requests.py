"""Questions over the broker: a query goes out, its reply comes to a queue of the asker's own.

Many questions are under way at once; a reply is told from its neighbours by its correlation id. FastStream's
`request` has one under way at a time, and closes the channel for all if it is cancelled while it asks the broker
for replies, as happens whenever a watching client goes away.
"""

import asyncio
from typing import Self
from uuid import uuid4

import aio_pika
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustChannel
from aio_pika.exceptions import AMQPError, PublishError

from shared.contracts.base import CONTENT_TYPE
from shared.contracts.errors import UnavailableError, unavailable
from shared.contracts.queries import AnyQuery
from shared.messaging.connection import silence_as_error
from shared.messaging.publishing_channel import PublishingChannel
from shared.telemetry.messages import asking
from shared.telemetry.propagation import inject
from shared.topology import QUERIES


class Requests:
    """Asks over one channel, which must be one that raises on returned messages."""

    def __init__(self, channel: AbstractRobustChannel, replies: str) -> None:
        self._channel = PublishingChannel(channel)
        self._replies = replies
        self._waiting: dict[str, asyncio.Future[bytes]] = {}

    @classmethod
    async def start(cls, channel: AbstractRobustChannel, *, asker: str) -> Self:
        """Return an asker whose replies arrive, also after the connection was lost and came back."""
        replies = await channel.declare_queue(f"{asker}.replies.{uuid4()}", exclusive=True, auto_delete=True)
        requests = cls(channel, replies.name)
        await replies.consume(requests._receive, no_ack=True)
        return requests

    async def ask(self, query: AnyQuery, queue: str, *, patience: float) -> bytes:
        """Return the reply; raise UnavailableError `no_answer` if none comes within `patience` seconds."""
        with asking(queue):
            return await self._ask(self._to_amqp(query, patience), queue, patience)

    async def _ask(self, message: aio_pika.Message, queue: str, patience: float) -> bytes:
        assert message.correlation_id
        self._waiting[message.correlation_id] = answer = asyncio.get_running_loop().create_future()
        try:
            with silence_as_error():
                async with asyncio.timeout(patience):
                    await self._channel.send(message.body, message.properties, QUERIES, queue, mandatory=True)
                    return await answer
        except PublishError as err:
            raise _no_answer(queue, "the broker has no such queue") from err
        except TimeoutError as err:
            raise _no_answer(queue, f"nothing came within {patience:.0f} s") from err
        except (AMQPError, OSError, RuntimeError) as err:
            raise _no_answer(queue, f"the broker is away: {err or type(err).__name__}") from err
        finally:
            del self._waiting[message.correlation_id]

    async def _receive(self, incoming: AbstractIncomingMessage) -> None:
        # Who asked may have given up.
        answer = self._waiting.get(incoming.correlation_id or "")
        if answer and not answer.done():
            answer.set_result(incoming.body)

    def _to_amqp(self, query: AnyQuery, patience: float) -> aio_pika.Message:
        identity = str(uuid4())
        headers: dict[str, str] = {}
        inject(headers)
        return aio_pika.Message(
            query.to_json(),
            headers=dict(headers),
            message_id=identity,
            correlation_id=identity,
            reply_to=self._replies,
            type=query.kind,
            content_type=CONTENT_TYPE,
            expiration=patience,
            delivery_mode=aio_pika.DeliveryMode.NOT_PERSISTENT,
        )


def _no_answer(queue: str, reason: str) -> UnavailableError:
    return unavailable(
        "no_answer", f"no answer to a query: {reason}", where=queue, fix="see that its service and the broker are up"
    )
