"""Asks the run tracker to drop old history, over the broker, as an operator may who has its address."""

from aio_pika.abc import AbstractRobustChannel

from shared.contracts.history import PruneHistory, PruneReply
from shared.messaging.connection import connect
from shared.messaging.requests import Requests
from shared.topology import QUERIES_QUEUE

CONNECT_SECONDS = 3.0
PRUNE_SECONDS = 60.0  # weeks are dropped one after the other, each at once


async def prune_history(amqp_url: str, older_than_days: int) -> PruneReply:
    """Return what was dropped; raise UnavailableError where broker or tracker is away."""
    async with connect(amqp_url, name="weft history", patience=CONNECT_SECONDS) as connection:
        channel = await connection.channel(on_return_raises=True)
        assert isinstance(channel, AbstractRobustChannel)
        requests = await Requests.start(channel, asker="weft")
        query = PruneHistory(older_than_days=older_than_days)
        return PruneReply.model_validate_json(await requests.ask(query, QUERIES_QUEUE, patience=PRUNE_SECONDS))
