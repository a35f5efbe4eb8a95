"""What a run is waiting for, told again whenever that changes."""

import asyncio
from collections.abc import Callable
from uuid import UUID

from cli.client import connect
from cli.follow import timed_out
from shared.client import AsyncClient
from shared.client.following import PATIENCE_SECONDS, Attempts
from shared.contracts.errors import UnavailableError
from shared.contracts.queries import WhyReply
from shared.contracts.states import FINAL_RUN_STATUSES

LOOK_SECONDS = 1.0  # queues and workers change without an event of the run


async def watch_reasons(
    url: str, run_id: UUID, node_id: str | None, tell: Callable[[WhyReply], None], *, patience: float | None
) -> None:
    """Tell the reasons, and each change of them, until the run ends; raise WaitTimedOutError if it does not."""
    try:
        async with asyncio.timeout(patience), connect(url) as gateway:
            told = await gateway.why(run_id, node_id)
            tell(told)
            while told.status not in FINAL_RUN_STATUSES:
                await asyncio.sleep(LOOK_SECONDS)
                reply = await _ask_patiently(gateway, run_id, node_id)
                if reply != told:
                    tell(reply)
                told = reply
    except TimeoutError as err:
        raise timed_out(run_id, patience) from err


async def _ask_patiently(gateway: AsyncClient, run_id: UUID, node_id: str | None) -> WhyReply:
    """Return the reasons from a gateway that has answered before: where it is away, it may come back."""
    attempts = Attempts(f"run {run_id}", PATIENCE_SECONDS)
    while True:
        try:
            return await gateway.why(run_id, node_id)
        except UnavailableError as err:
            await asyncio.sleep(attempts.next_pause(err))
