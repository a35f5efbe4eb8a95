"""Follows a run to its end, through lines that break."""

import asyncio
from collections.abc import Callable, Sequence
from uuid import UUID

from cli.client import Gateway
from cli.errors import WaitTimedOutError
from cli.progress import RunProgress
from shared.contracts.errors import InvalidInputError, Problem, UnavailableError
from shared.contracts.events import LiveEvent
from shared.contracts.queries import NodeView, RunView
from shared.contracts.states import FINAL_RUN_STATUSES

PATIENCE_SECONDS = 30.0  # how long a gateway, or the history of a run that has ended, is waited for
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0


OnChange = Callable[[RunProgress, Sequence[NodeView]], None]


class Follower:
    """Follows an accepted run; `on_change` is given its progress, and the nodes that changed, when more is known."""

    def __init__(self, gateway: Gateway, accepted: RunView, on_change: OnChange) -> None:
        self._gateway, self._run_id, self._on_change = gateway, accepted.run_id, on_change
        self._progress = RunProgress(accepted)

    async def until_end(self, patience: float | None) -> RunView:
        """Return the run as it is recorded after its end.

        Raises WaitTimedOutError if it has not ended after `patience` seconds, and UnavailableError if the gateway
        stays away for longer than PATIENCE_SECONDS; the run goes on. Raises InvalidInputError `already_started` or
        `trigger_conflict` if there will be no such run, because its name belongs to another one.
        """
        try:
            async with asyncio.timeout(patience):
                await self._follow()
                return await self._recorded()
        except TimeoutError as err:
            raise self._timed_out(patience) from err

    async def _follow(self) -> None:
        attempts = _Attempts(self._run_id)
        while not self._progress.has_ended:
            try:
                async for update in self._gateway.events(self._run_id):
                    self._take(update)
                    attempts.succeeded()
                await attempts.pause(None)
            except UnavailableError as err:
                await attempts.pause(err)

    async def _recorded(self) -> RunView:
        """Return the final record; the run tracker may learn of the end a moment later than we."""
        attempts = _Attempts(self._run_id)
        while True:
            try:
                view = await self._gateway.run(self._run_id)
                if view.status in FINAL_RUN_STATUSES:
                    self._take(view)
                    return view
                await attempts.pause(None)
            except UnavailableError as err:
                await attempts.pause(err)

    def _take(self, update: RunView | LiveEvent) -> None:
        changed = self._progress.take(update)
        if self._progress.refusal:
            raise InvalidInputError(self._progress.refusal)
        self._on_change(self._progress, changed)

    def _timed_out(self, patience: float | None) -> WaitTimedOutError:
        return WaitTimedOutError(
            Problem(
                code="wait_timed_out",
                message=f"run {self._run_id} has not ended after {patience or 0:g} s; it goes on",
                where="--timeout",
                fix=f"look at it with: weft runs get {self._run_id}",
            )
        )


class _Attempts:
    """Pauses between attempts, longer each time; gives up when none has succeeded for PATIENCE_SECONDS."""

    def __init__(self, run_id: UUID) -> None:
        self._run_id = run_id
        self.succeeded()

    def succeeded(self) -> None:
        self._since = asyncio.get_running_loop().time()
        self._pause = _FIRST_PAUSE_SECONDS

    async def pause(self, err: UnavailableError | None) -> None:
        if asyncio.get_running_loop().time() - self._since > PATIENCE_SECONDS:
            raise UnavailableError(*(err.problems if err else ()), self._given_up()) from err
        await asyncio.sleep(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)

    def _given_up(self) -> Problem:
        return Problem(
            code="run_not_followed",
            message=f"nothing was learnt of run {self._run_id} for {PATIENCE_SECONDS:.0f} s; it goes on",
            fix=f"see that gateway and run tracker are up, then: weft runs get {self._run_id}",
        )
