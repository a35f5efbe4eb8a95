"""From a worker's function, async or sync, to the body of its jobs."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, cast

from shared.assets import AssetStore
from shared.contracts.commands import NodeExecute
from shared.contracts.events import NodeProgress
from shared.contracts.node_type import NodeType
from shared.threads import run_in_stoppable_thread
from shared.worker.job import Deadline, Job
from shared.worker.outcomes import Body, Outcome
from shared.worker.progress import Progress

# The params of the job are those of the function's node type, which no type checker can see here.
AsyncFunction = Callable[[Job[Any]], Awaitable[Outcome]]
SyncFunction = Callable[[Job[Any]], Outcome]
Function = AsyncFunction | SyncFunction


def as_body(node_type: NodeType, function: Function, assets: AssetStore, tell: Callable[[NodeProgress], None]) -> Body:
    """Return the body that calls a worker's function with jobs of its type; a sync one in a thread.

    It ends when the function has, also when it is cancelled. Params that are not of the type raise pydantic's
    ValidationError, which is a defect: they were validated before the run began.
    """
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)

    async def body(command: NodeExecute) -> Outcome:
        params = node_type.read_params(command.params)
        job = Job(command, params, assets, Progress(command, tell), Deadline(command.timeout))
        try:
            if is_async:
                return await cast("AsyncFunction", function)(job)
            return await run_in_stoppable_thread(job.stop.set, cast("SyncFunction", function), job)
        finally:
            job.stop.set()
            job.progress.close()

    return body
