"""Prefect: a background task whose nodes are tasks, recorded by a server of its own.

`server` makes this module the server, `worker` a worker. It runs in an environment of its own: its packages do not
agree with ours.
"""

# The type checker sees none of what is in that environment.
# pyright: reportMissingImports=false, reportCallIssue=false, reportFunctionMemberAccess=false
# pyright: reportUntypedFunctionDecorator=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false

import asyncio
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
from benchmarks.shapes import ANSWER, PICTURE, Shape

POLL_SECONDS = 0.2
WORKER_LIMIT = 64  # runs in hand of a process, as jobs are of Weft's workers

Plan = Sequence[tuple[str, Sequence[int]]]  # of each node, its kind and what it waits for


@task
async def do(kind: str, inputs: Sequence[object]) -> object:  # noqa: ARG001 - what a node gets travels, as in Weft
    """Return a picture, or a short text."""
    return PICTURE if kind in {"upload", "crop"} else ANSWER


@task
async def run(plan: Plan) -> object:
    """Do all nodes, side by side where nothing is waited for; return the last one's output."""
    outputs: dict[int, object] = {}
    while len(outputs) < len(plan):
        ready = [
            number for number, (_, after) in enumerate(plan) if number not in outputs and outputs.keys() >= {*after}
        ]
        done = await asyncio.gather(
            *(do(plan[number][0], [outputs[source] for source in plan[number][1]]) for number in ready)
        )
        outputs.update(zip(ready, done, strict=True))
    return outputs[len(plan) - 1]


def run_batch(shape: Shape, runs: int) -> float:
    """Submit runs at once; return the seconds until the last result was there. Raises RunsLostError."""
    plan = [(node.kind, list(node.after)) for node in shape.nodes]
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
