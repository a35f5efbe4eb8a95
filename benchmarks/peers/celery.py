"""Celery: a canvas on RabbitMQ, results and chords in Redis. `worker` makes this module the worker."""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from celery import Celery, chain, group
from celery.exceptions import TimeoutError as CeleryTimeoutError

from benchmarks.measures import PATIENCE, RunsLostError
from benchmarks.peers.driving import BROKER_URL, REDIS_URL, serve
from benchmarks.shapes import ANSWER, PICTURE, QUESTION, Shape

PROCESSES = 2
# Nothing is lost when a worker or the broker dies, and what the manual recommends for many short tasks.
SETTINGS = {
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "broker_transport_options": {"confirm_publish": True},
    "worker_prefetch_multiplier": 64,
    "task_default_queue": "benchmark.celery",
}


def upload() -> Mapping[str, object]:
    """Return a reference to a picture."""
    return PICTURE


def crop(image: object, x: int, width: int) -> object:  # noqa: ARG001 - the box travels, as in Weft
    """Return the picture as it came."""
    return image


def ask(image: object, user_message: str) -> str:  # noqa: ARG001 - the question travels, as in Weft
    """Return a short text."""
    return ANSWER


def join(texts: Sequence[object], user_message: str) -> str:  # noqa: ARG001 - the question travels, as in Weft
    """Return a short text."""
    return ANSWER


def create_app() -> Any:
    """Return the application. Celery has no types: Any."""
    app: Any = Celery("benchmark", broker=os.environ[BROKER_URL], backend=os.environ[REDIS_URL])
    app.conf.update(SETTINGS)
    # Nobody asks for the results of uploads and crops: they travel in the messages, except to a chord.
    for body, ignore_result in ((upload, True), (crop, True), (ask, False), (join, False)):
        app.task(name=body.__name__, ignore_result=ignore_result)(body)
    return app


class Canvas:
    """Makes the workflows; a group with something behind it is a chord."""

    def __init__(self, app: Any) -> None:
        self._upload, self._crop, self._ask, self._join = (
            app.tasks[body.__name__] for body in (upload, crop, ask, join)
        )
        self._group: Any = group
        self._chain: Any = chain
        self._made: Mapping[str, Callable[[Shape], Any]] = {
            "sample": self._sample,
            "wide": self._wide,
            "chain": self._one_by_one,
        }

    def make(self, shape: Shape) -> Any:
        """Return the canvas of a shape, which can be applied once."""
        return self._made[shape.name](shape)

    def _sample(self, _: Shape) -> Any:
        branches = self._group(self._crop.s(33 * third, 33) | self._ask.s(QUESTION) for third in range(3))
        return self._upload.s() | branches | self._join.s(QUESTION)

    def _wide(self, shape: Shape) -> Any:
        tasks = {"crop": self._crop.s(0, 33).set(ignore_result=False), "ask": self._ask.s(QUESTION)}
        return self._upload.s() | self._group(tasks[node.kind] for node in shape.nodes[1:-1]) | self._join.s(QUESTION)

    def _one_by_one(self, shape: Shape) -> Any:
        first, *others = shape.nodes
        assert first.kind == "ask"
        return self._chain(self._ask.s(PICTURE, QUESTION), *(self._join.s(QUESTION) for _ in others))


def run_batch(canvas: Canvas, shape: Shape, runs: int) -> float:
    """Submit runs at once; return the seconds until the last result was there. Raises RunsLostError."""
    workflows = [canvas.make(shape) for _ in range(runs)]
    started = time.perf_counter()
    results = [workflow.apply_async() for workflow in workflows]
    lost = sum(not _succeeded(result, started + PATIENCE) for result in results)
    if lost:
        raise RunsLostError(f"{lost} of {runs} runs had not ended as they must after {PATIENCE:.0f} s")
    return time.perf_counter() - started


def _succeeded(result: Any, until: float) -> bool:
    try:
        return result.get(timeout=max(0.01, until - time.perf_counter())) == ANSWER
    except CeleryTimeoutError:
        result.forget()
        return False


def be_worker(app: Any) -> None:
    """Be the worker, without what it does beside tasks."""
    quiet = ["--loglevel=WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    app.worker_main(["worker", "--pool=prefork", f"--concurrency={PROCESSES}", *quiet])


def main() -> None:
    """Be the worker, or the client."""
    app = create_app()
    if sys.argv[1:] == ["worker"]:
        be_worker(app)
    else:
        canvas = Canvas(app)
        serve(lambda shape, runs: run_batch(canvas, shape, runs))


if __name__ == "__main__":
    main()
