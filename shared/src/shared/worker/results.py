"""Telling the results of jobs: one at once, and those that come while it is on its way together.

A message on the broker costs far more than a kilobyte in it, on its way and where it is taken in.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from opentelemetry.context import Context, get_current

from shared.contracts.bundles import bundled
from shared.contracts.errors import InvalidInputError
from shared.messaging.publisher import BundlePublisher
from shared.telemetry.propagation import headers_of
from shared.telemetry.tracing import attached, is_tracing
from shared.worker.outcomes import Result

MAX_TOGETHER = 20  # results in a bundle: those who take them in take so many messages at once, not so many results


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A result, the context of its job's trace, and what tells whoever waits that it is safe."""

    result: Result
    context: Context
    told: asyncio.Future[None]


class Results:
    """Publishes results; while some are on their way, those that come wait to follow in one bundle."""

    def __init__(self, publisher: BundlePublisher) -> None:
        self._publisher = publisher
        self._waiting: list[_Waiting] = []
        self._sending: asyncio.Task[None] | None = None

    async def publish(self, result: Result) -> None:
        """Return once the broker has the result safe; raise as `Publisher.publish` does."""
        if is_tracing():  # each publication has a span of its own, in the trace of its job
            await self._publisher.publish(result)
            return
        told = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(result, get_current(), told))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        await told

    async def _send(self) -> None:
        try:
            while self._waiting:
                together, self._waiting = self._waiting[:MAX_TOGETHER], self._waiting[MAX_TOGETHER:]
                await self._send_together(together)
        finally:
            self._sending = None

    async def _send_together(self, together: Sequence[_Waiting]) -> None:
        try:
            await self._publish(together)
        except InvalidInputError as err:
            if len(together) == 1:
                return _settle(together, err)
            for waiting in together:  # one of them is too large, and harms none of the others
                await self._send_together([waiting])
        except Exception as err:  # noqa: BLE001 - for those who wait
            _settle(together, err)
        else:
            _settle(together)

    async def _publish(self, together: Sequence[_Waiting]) -> None:
        if len(together) == 1:
            with attached(together[0].context):
                await self._publisher.publish(together[0].result)
        else:
            traces = {waiting.result.message_id: headers_of(waiting.context) for waiting in together}
            with attached(Context()):  # the bundle is in no trace: not in that of whose result began the sending
                await self._publisher.publish_all(bundled((waiting.result for waiting in together), traces))


def _settle(together: Sequence[_Waiting], error: Exception | None = None) -> None:
    for waiting in together:
        if waiting.told.done():  # who waited has been cancelled
            continue
        if error:
            waiting.told.set_exception(error)
        else:
            waiting.told.set_result(None)
