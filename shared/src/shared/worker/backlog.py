"""Jobs that were in their queue while this process heard of no abandonments: whether they are still waited for."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from aio_pika.abc import AbstractRobustConnection
from aio_pika.exceptions import AMQPError
from pydantic import ValidationError
from structlog import get_logger

from shared.contracts.commands import NodeExecute
from shared.contracts.errors import UnavailableError, unavailable
from shared.contracts.queries import AttemptReply, GetAttempt
from shared.messaging.connection import brief_channel
from shared.messaging.requests import Requests
from shared.topology import WHY_QUEUE, look_at_queue, unreadable

PATIENCE = 2.0  # seconds
SILENCE = timedelta(seconds=5)  # in which nobody is asked again, after nobody answered
# Sending times are in whole seconds, and of other machines' clocks.
MARGIN = timedelta(seconds=5)

IsWanted = Callable[[NodeExecute, datetime | None], Awaitable[bool]]

log = get_logger(__name__)


class Backlog:
    """Asks the orchestrator about each job that was sent before abandonments were heard, and no other.

    An abandonment reaches the workers that run when it is told. A worker that came later, or whose connection was away,
    would else do, and pay for, what its run was cancelled for. Where no orchestrator answers, jobs are done unasked.
    """

    def __init__(self, connection: AbstractRobustConnection, requests: Requests) -> None:
        self._connection = connection
        self._requests = requests
        self._silent_until = self._answered_until = datetime.min.replace(tzinfo=UTC)
        self._hears_since: datetime | None = None

    def hears_from_now_on(self) -> None:
        """Note that what is abandoned after this moment will be heard."""
        self._hears_since = datetime.now(UTC)

    def hears_nothing(self) -> None:
        """Note that abandonments are not heard; jobs may come before they are again."""
        self._hears_since = None

    async def is_wanted(self, job: NodeExecute, sent_at: datetime | None) -> bool:
        """Tell whether a job is to be done."""
        if self._would_have_heard(sent_at) or datetime.now(UTC) < self._silent_until:
            return True
        try:
            return await self._ask(GetAttempt(run_id=job.run_id, node_id=job.node_id, attempt=job.attempt))
        except UnavailableError as err:
            log.warning("jobs may have been abandoned, and are done", message_id=job.message_id, reason=str(err))
            self._silent_until = datetime.now(UTC) + SILENCE
            return True

    def _would_have_heard(self, sent_at: datetime | None) -> bool:
        return bool(self._hears_since and sent_at and sent_at > self._hears_since + MARGIN)

    async def _ask(self, query: GetAttempt) -> bool:
        # Looked at now and then only: a backlog may be long, and who has just answered will again.
        if datetime.now(UTC) > self._answered_until and not await self._is_anybody_there():
            raise unavailable("no_answer", "no orchestrator answers queries", where=WHY_QUEUE)
        reply = await self._requests.ask(query, WHY_QUEUE, patience=PATIENCE)
        try:
            wanted = AttemptReply.model_validate_json(reply).wanted
        except ValidationError as err:  # from an orchestrator of another version
            raise unavailable("no_answer", "the answer to a query cannot be read", where=WHY_QUEUE) from err
        self._answered_until = datetime.now(UTC) + SILENCE
        return wanted

    async def _is_anybody_there(self) -> bool:
        try:
            async with asyncio.timeout(PATIENCE), brief_channel(self._connection) as channel:
                return bool((await look_at_queue(channel, WHY_QUEUE)).consumer_count)
        except (AMQPError, OSError, RuntimeError) as err:  # TimeoutError is an OSError
            raise unreadable(WHY_QUEUE, err) from err
