"""DBOS: a durable workflow whose nodes are steps, checkpointed in PostgreSQL. `worker ID` makes this module a worker.

Batches go through a queue, to two processes; a single run is started in the client's own process, as the application
that DBOS is a library of does.
"""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from dbos import DBOS, DBOSConfig

from benchmarks.measures import PATIENCE, RunsLostError
from benchmarks.peers.driving import DATABASE_URL, serve
from benchmarks.peers.stages import Plan, do_in_stages, plan_of
from benchmarks.shapes import ANSWER, PICTURE, Shape

QUEUE = "benchmark"
# The default, one second, is for less load; a queue that is looked at more often starts sooner.
POLLING_SECONDS = 0.1
WORKER_CONCURRENCY = 64  # runs in hand of a process, as jobs are of Weft's workers


@DBOS.step()
async def do(kind: str, inputs: Sequence[object]) -> object:  # noqa: ARG001 - what a node gets travels, as in Weft
    """Return a picture, or a short text."""
    return PICTURE if kind in {"upload", "crop"} else ANSWER


@DBOS.workflow()
async def run(plan: Plan) -> object:
    """Do all nodes; return the last one's output."""
    return await do_in_stages(plan, do)


def launch(executor: str, *, queues: Sequence[str]) -> None:
    """Become one of the processes of the application, which takes from these queues."""
    config: DBOSConfig = {
        "name": "benchmark",
        "system_database_url": _own_database(os.environ[DATABASE_URL]),
        "executor_id": executor,
        "application_version": "1",
        "log_level": "WARNING",
    }
    DBOS(config=config)
    DBOS.listen_queues(queues)
    DBOS.launch()
    DBOS.register_queue(QUEUE, worker_concurrency=WORKER_CONCURRENCY, polling_interval_sec=POLLING_SECONDS)


def _own_database(url: str) -> str:
    """Return the address of a database beside ours, which DBOS makes."""
    return urlunsplit(urlsplit(url)._replace(path="/benchmark_dbos", scheme="postgresql"))


async def run_batch(shape: Shape, runs: int) -> float:
    """Submit runs at once; return the seconds until the last result was there. Raises RunsLostError."""
    plan = plan_of(shape)
    started = time.perf_counter()
    try:
        async with asyncio.timeout(PATIENCE):
            if runs == 1:
                handles: list[Any] = [await DBOS.start_workflow_async(run, plan)]
            else:
                handles = await asyncio.gather(*(DBOS.enqueue_workflow_async(QUEUE, run, plan) for _ in range(runs)))
            for handle in handles:
                await handle.get_result(polling_interval_sec=POLLING_SECONDS)
    except TimeoutError as err:
        raise RunsLostError(f"{runs} runs had not ended after {PATIENCE:.0f} s") from err
    return time.perf_counter() - started


def main() -> None:
    """Be a worker, or the client."""
    match sys.argv[1:]:
        case ["worker", executor]:
            launch(executor, queues=[QUEUE])
            asyncio.run(asyncio.Event().wait())
        case _:
            launch("client", queues=[])
            with asyncio.Runner() as runner:
                serve(lambda shape, runs: runner.run(run_batch(shape, runs)))


if __name__ == "__main__":
    main()
