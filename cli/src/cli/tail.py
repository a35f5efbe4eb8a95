"""All runs as they go on: of one workflow, or of the newest ones."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress
from uuid import UUID

from cli.client import connect
from cli.errors import WaitTimedOutError
from shared.client import AsyncClient
from shared.client.following import WorkflowUpdate
from shared.contracts.errors import InvalidInputError, Problem

MOST_WORKFLOWS = 20  # each takes a connection
LOOK_SECONDS = 5.0  # how soon a new workflow is noticed

Tell = Callable[[UUID, WorkflowUpdate], None]


async def tail(url: str, workflow_id: UUID | None, tell: Tell, *, patience: float | None) -> None:
    """Tell what happens to the runs of a workflow, else of the newest workflows; ends by an error only.

    Raises WaitTimedOutError after `patience` seconds, and what `AsyncClient.follow_workflow` raises.
    """
    try:
        async with asyncio.timeout(patience), connect(url) as gateway:
            if workflow_id is not None:
                await _follow(gateway, workflow_id, tell)
            else:
                await _follow_newest(gateway, tell)
    except TimeoutError as err:
        raise _timed_out(patience) from err


async def _follow_newest(gateway: AsyncClient, tell: Tell) -> None:
    try:
        async with asyncio.TaskGroup() as tasks:
            await _keep_following(gateway, tell, tasks)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed


async def _keep_following(gateway: AsyncClient, tell: Tell, tasks: asyncio.TaskGroup) -> None:
    followed: dict[UUID, asyncio.Task[None]] = {}
    while True:
        newest = [workflow.id for workflow in (await gateway.list_workflows(MOST_WORKFLOWS)).workflows]
        for older in followed.keys() - set(newest):
            followed.pop(older).cancel()
        for workflow_id in newest:
            if workflow_id not in followed:
                followed[workflow_id] = tasks.create_task(_follow_while_kept(gateway, workflow_id, tell))
        await asyncio.sleep(LOOK_SECONDS)


async def _follow_while_kept(gateway: AsyncClient, workflow_id: UUID, tell: Tell) -> None:
    with suppress(InvalidInputError):  # it was deleted meanwhile
        await _follow(gateway, workflow_id, tell)


async def _follow(gateway: AsyncClient, workflow_id: UUID, tell: Tell) -> None:
    async with aclosing(gateway.follow_workflow(workflow_id)) as updates:
        async for update in updates:
            tell(workflow_id, update)


def _timed_out(patience: float | None) -> WaitTimedOutError:
    message = f"{patience or 0:g} s are over; the runs go on"
    return WaitTimedOutError(Problem(code="wait_timed_out", message=message, where="--timeout"))
