"""Prefect: a background task whose nodes are tasks, recorded by a server of its own.

`server` makes this module the server, `worker` a worker. It runs in an environment of its own: its packages do not
agree with ours.
"""

# The type checker sees none of what is in that environment.
# pyright: reportMissingImports=false, reportCallIssue=false, reportFunctionMemberAccess=false
# pyright: reportUntypedFunctionDecorator=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false

import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

import httpx
from prefect import task
from prefect.task_worker import serve as serve_tasks

from benchmarks.measures import PATIENCE, RunsLostError
from benchmarks.peers.driving import HOST, SERVER_PORT, serve
from benchmarks.peers.stages import Plan, do_in_stages, plan_of
from benchmarks.shapes import ANSWER, PICTURE, Shape

POLL_SECONDS = 0.2
WORKER_LIMIT = 64  # runs in hand of a process, as jobs are of Weft's workers


@task
async def do(kind: str, inputs: Sequence[object]) -> object:  # noqa: ARG001 - what a node gets travels, as in Weft
    """Return a picture, or a short text."""
    return PICTURE if kind in {"upload", "crop"} else ANSWER


@task
async def run(plan: Plan) -> object:
    """Do all nodes; return the last one's output."""
    return await do_in_stages(plan, do)


def run_batch(shape: Shape, runs: int) -> float:
    """Submit runs at once; return the seconds until the last result was there. Raises RunsLostError."""
    plan = plan_of(shape)
    started = time.perf_counter()
    futures = [run.delay(plan) for _ in range(runs)]
    try:
        for future in futures:
            future.result(timeout=max(0.01, started + PATIENCE - time.perf_counter()))
    except TimeoutError as err:
        raise RunsLostError(f"{runs} runs had not ended after {PATIENCE:.0f} s") from err
    return time.perf_counter() - started


def be_server() -> None:
    """Become the server."""
    server = ["-m", "prefect", "server", "start", "--no-ui", "--host", HOST, "--port", os.environ[SERVER_PORT]]
    os.execv(sys.executable, [sys.executable, *server])


def wait_for_server() -> None:
    """Return once the server answers; who started this process gives up on it where it never does."""
    while True:
        with suppress(httpx.TransportError):
            if httpx.get(f"http://{HOST}:{os.environ[SERVER_PORT]}/api/health").is_success:
                return
        time.sleep(POLL_SECONDS)


def main() -> None:
    """Be the server, a worker, or the client."""
    match sys.argv[1:]:
        case ["server"]:
            be_server()
        case ["worker"]:
            wait_for_server()
            serve_tasks(run, limit=WORKER_LIMIT)
        case _:
            wait_for_server()
            serve(run_batch)


if __name__ == "__main__":
    main()
