"""Follows a run to its end, and tells what becomes of it."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from uuid import UUID

from cli.errors import WaitTimedOutError
from cli.progress import RunProgress
from shared.client import AsyncClient
from shared.contracts.errors import InvalidInputError, Problem, WeftError
from shared.contracts.events import LiveEvent
from shared.contracts.queries import NodeView, RunView

OnChange = Callable[[RunProgress, Sequence[NodeView]], None]


class Follower:
    """Follows an accepted run; `on_change` is given its progress, and the nodes that changed, when more is known."""

    def __init__(self, gateway: AsyncClient, accepted: RunView, on_change: OnChange) -> None:
        self._gateway, self._run_id, self._on_change = gateway, accepted.run_id, on_change
        self._progress = RunProgress(accepted)

    async def learn_graph(self) -> None:
        """Ask for the workflow of the run, to draw it; where it cannot be had, nodes are drawn without lines."""
        run = self._progress.run
        if run.workflow_id is not None:
            with suppress(WeftError):
                workflow = await self._gateway.get_workflow(run.workflow_id, run.workflow_version)
                self._progress.graph = self._progress.graph or workflow.graph

    async def until_end(self, patience: float | None) -> RunView:
        """Return the run as it is recorded after its end.

        Raises WaitTimedOutError if it has not ended after `patience` seconds, and UnavailableError `not_followed` if
        the gateway stays away; the run goes on. Raises InvalidInputError `already_started` or `trigger_conflict` if
        there will be no such run, because its name belongs to another one.
        """
        try:
            async with asyncio.timeout(patience):
                async with aclosing(self._gateway.follow(self._run_id)) as updates:
                    async for update in updates:
                        self._take(update)
                run = await self._gateway.recorded(self._run_id)
        except TimeoutError as err:
            raise timed_out(self._run_id, patience) from err
        self._take(run)
        return run

    def _take(self, update: RunView | LiveEvent) -> None:
        changed = self._progress.take(update)
        if self._progress.refusal:
            raise InvalidInputError(self._progress.refusal)
        self._on_change(self._progress, changed)


def timed_out(run_id: UUID, patience: float | None) -> WaitTimedOutError:
    """Return the error that says that a run has not ended in time."""
    return WaitTimedOutError(
        Problem(
            code="wait_timed_out",
            message=f"run {run_id} has not ended after {patience or 0:g} s; it goes on",
            where="--timeout",
            fix=f"look at it with: weft runs get {run_id}",
        )
    )
