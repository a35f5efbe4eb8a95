"""Taskiq: tasks on RabbitMQ that send what follows them; the join is counted, and results are kept, in Redis.

Taskiq has no workflows of its own, so that a crash of whoever waits loses none only if the tasks themselves go on.
`taskiq worker benchmarks.peers.taskiq:create_broker` is the worker.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis
from taskiq import AsyncTaskiqTask, TaskiqResultTimeoutError
from taskiq_aio_pika import AioPikaBroker, Queue
from taskiq_redis import RedisAsyncResultBackend

from benchmarks.measures import PATIENCE, RunsLostError
from benchmarks.peers.driving import BROKER_URL, REDIS_URL, serve
from benchmarks.shapes import ANSWER, BRANCHES, PICTURE, QUESTION, Shape

PREFETCH = 64
KEPT_SECONDS = 600  # of results
CHECK_SECONDS = 0.005  # between two looks for a result; the default, 0.2, would be most of a single run's time

Picture = Mapping[str, object]


class Tasks:
    """The tasks of the sample workflow: each sends the next before it is acknowledged. Taskiq has few types: Any."""

    def __init__(self, broker: AioPikaBroker, redis: Any) -> None:
        self._redis = redis
        # Functions, because a task gets attributes, which a method cannot have.
        self.upload = self._register(broker, self._upload)
        self._crop_task = self._register(broker, self._crop)
        self._ask_task = self._register(broker, self._ask)
        self._join_task = self._register(broker, self._join)

    def _register(self, broker: AioPikaBroker, body: Callable[..., Awaitable[Any]]) -> Any:
        async def task(*arguments: Any) -> Any:
            return await body(*arguments)

        return broker.register_task(task, body.__name__)

    async def _upload(self, run: str) -> Picture:
        for branch in range(BRANCHES):
            await self._crop_task.kiq(run, branch, dict(PICTURE))
        return PICTURE

    async def _crop(self, run: str, branch: int, image: Picture) -> Picture:
        await self._ask_task.kiq(run, branch, image, QUESTION)
        return image

    async def _ask(self, run: str, branch: int, image: Picture, user_message: str) -> str:  # noqa: ARG002 - they travel
        counted = self._redis.pipeline().hset(run, str(branch), ANSWER).hgetall(run).expire(run, KEPT_SECONDS)
        _, answers, _ = await counted.execute()
        if len(answers) == BRANCHES:
            texts = [text.decode() for text in answers.values()]
            await self._join_task.kicker().with_task_id(_end_of(run)).kiq(texts, QUESTION)
        return ANSWER

    async def _join(self, texts: list[str], user_message: str) -> str:  # noqa: ARG002 - they travel
        return ANSWER


def _end_of(run: str) -> str:
    """Return the id of the last task of a run."""
    return f"{run}-join"


def create_broker() -> AioPikaBroker:
    """Return the broker, with its tasks; quorum queues and confirms are its defaults."""
    return _create()[0]


def _create() -> tuple[AioPikaBroker, Tasks]:
    redis_url = os.environ[REDIS_URL]
    results = RedisAsyncResultBackend[object](redis_url, result_ex_time=KEPT_SECONDS)
    broker = AioPikaBroker(os.environ[BROKER_URL], result_backend=results, qos=PREFETCH)
    broker = broker.with_queue(Queue(name="benchmark.taskiq"))
    redis: Any = Redis.from_url(redis_url)  # pyright: ignore[reportUnknownMemberType] - redis is typed in part
    return broker, Tasks(broker, redis)


async def run_batch(broker: AioPikaBroker, tasks: Tasks, shape: Shape, runs: int) -> float:
    """Submit runs at once; return the seconds until the last result was there. Raises RunsLostError."""
    assert shape.name == "sample"
    started = time.perf_counter()
    ids = [uuid4().hex for _ in range(runs)]
    await asyncio.gather(*(tasks.upload.kiq(run) for run in ids))
    try:
        for run in ids:
            end = AsyncTaskiqTask[Any](_end_of(run), broker.result_backend)
            await end.wait_result(CHECK_SECONDS, timeout=max(0.01, started + PATIENCE - time.perf_counter()))
    except TaskiqResultTimeoutError as err:
        raise RunsLostError(f"{runs} runs had not ended after {PATIENCE:.0f} s") from err
    return time.perf_counter() - started


def main() -> None:
    """Be the client."""
    broker, tasks = _create()
    with asyncio.Runner() as runner:
        runner.run(broker.startup())
        serve(lambda shape, runs: runner.run(run_batch(broker, tasks, shape, runs)))
        runner.run(broker.shutdown())


if __name__ == "__main__":
    main()
