"""Waiting for the end of a run within a request."""

import asyncio

from structlog import get_logger

from gateway.event_log import LoggedEvent
from gateway.live import LiveEvents, Signal, Subscription
from gateway.runs import Runs
from shared.contracts.errors import InvalidInputError, UnavailableError
from shared.contracts.events import RunFinished, RunRejected
from shared.contracts.queries import RunView
from shared.contracts.states import FINAL_RUN_STATUSES

MAX_WAIT = 60.0  # seconds; many proxies end requests that take longer
LOOK_SECONDS = 5.0  # without a sign of the end, the run tracker is asked all the same
RECORD_SECONDS = 0.1  # in which the run tracker usually knows what the events have told

log = get_logger(__name__)


async def wait_for_end(run: RunView, runs: Runs, live: LiveEvents, seconds: float) -> RunView:
    """Return the run as it is recorded once it has ended, or as it is known when the time is over."""
    deadline = asyncio.get_running_loop().time() + seconds
    with live.subscribe(run.run_id, live.log.start) as subscription:
        while True:
            run = await _known_now(run, runs)
            left = deadline - asyncio.get_running_loop().time()
            if run.status in FINAL_RUN_STATUSES or left <= 0 or not await _sign(subscription, left):
                return run


async def _known_now(run: RunView, runs: Runs) -> RunView:
    """Return the run as it is known, also if nobody knows it yet: that it was accepted is certain."""
    try:
        return await runs.get(run.run_id)
    except InvalidInputError as err:
        if err.code != "run_not_found":
            raise
        return run
    except UnavailableError as err:
        log.info("a run that is waited for cannot be asked about, will be again", reason=str(err))
        return run


async def _sign(subscription: Subscription, left: float) -> bool:
    """Return when it is time to ask again; False if the gateway stops."""
    while True:
        item = await subscription.next(min(left, LOOK_SECONDS))
        if isinstance(item, LoggedEvent) and not isinstance(item.event, RunFinished | RunRejected):
            continue
        if isinstance(item, LoggedEvent):
            await asyncio.sleep(min(left, RECORD_SECONDS))
        return item is not Signal.CLOSED
