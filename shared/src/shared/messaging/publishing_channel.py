"""A channel to publish on, which is opened again whenever the broker has closed it."""

import asyncio

import aiormq
from aio_pika.abc import AbstractRobustChannel
from aio_pika.exceptions import ChannelInvalidStateError
from pamqp.commands import Basic


class PublishingChannel:
    """Publishes, on a channel that is open for as long as the broker lets it be.

    The broker closes the channel on which something was published to an exchange that is not there. aio-pika opens it
    again by itself, but not where it is closed once more meanwhile: then it would stay closed as long as its connection
    lives.
    """

    def __init__(self, channel: AbstractRobustChannel) -> None:
        self._channel = channel
        self._opening = asyncio.Lock()

    async def send(
        self, body: bytes, properties: Basic.Properties, exchange: str, routing_key: str, *, mandatory: bool
    ) -> None:
        """Return once the broker has confirmed the message, if the channel has it confirm.

        Not once it is written, which the next one would have to wait for, too: each would get a packet of its own. What
        holds publishers back is the number of messages that are not confirmed.
        """
        channel = await self._find_open() or await self._open()
        await channel.basic_publish(
            body, exchange=exchange, routing_key=routing_key, properties=properties, mandatory=mandatory, wait=False
        )

    async def _find_open(self) -> aiormq.Channel | None:
        try:
            channel = await self._channel.get_underlay_channel()
        except ChannelInvalidStateError:
            return None
        assert isinstance(channel, aiormq.Channel)
        return None if channel.is_closed else channel

    async def _open(self) -> aiormq.Channel:
        async with self._opening:
            await self._channel.restore()  # waits until aio-pika has, if it is about to
            if channel := await self._find_open():
                return channel
            await self._channel.reopen()
            if channel := await self._find_open():
                return channel
        raise ConnectionError("the broker has closed the channel again")
