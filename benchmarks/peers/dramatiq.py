"""Dramatiq: pipelines in a group with a callback, on RabbitMQ; the group is counted, and the result kept, in Redis.

`dramatiq benchmarks.peers.dramatiq:create_broker` is the worker.
"""

import os
import time
from collections.abc import Mapping
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.middleware import GroupCallbacks
from dramatiq.rate_limits.backends import RedisBackend as Counts
from dramatiq.results import Results, ResultTimeout
from dramatiq.results.backends import RedisBackend

from benchmarks.measures import PATIENCE, RunsLostError
from benchmarks.peers.driving import BROKER_URL, REDIS_URL, serve
from benchmarks.shapes import ANSWER, BRANCHES, PICTURE, QUESTION, Shape

QUEUE = "benchmark.dramatiq"


class Actors:
    """The actors of the sample workflow. Dramatiq's types say little of them: Any."""

    def __init__(self, broker: RabbitmqBroker) -> None:
        def declare(body: Any, **options: Any) -> Any:
            options |= {"actor_name": body.__name__, "queue_name": QUEUE, "broker": broker}
            return dramatiq.actor(**options)(body)

        def upload(join: Mapping[str, Any]) -> None:
            """Begin the branches; a pipeline cannot hold a group."""
            group: Any = dramatiq.group(
                [
                    self._crop.message(33 * branch, 33, dict(PICTURE)) | self._ask.message(QUESTION)
                    for branch in range(BRANCHES)
                ],
                broker=broker,
            )
            group.add_completion_callback(dramatiq.Message(**join))
            group.run()

        self.upload = declare(upload)
        self._crop = declare(crop)
        self._ask = declare(ask)
        self.join = declare(join, store_results=True)


def crop(x: int, width: int, image: Mapping[str, object]) -> Mapping[str, object]:  # noqa: ARG001 - the box travels
    """Return the picture as it came."""
    return image


def ask(user_message: str, image: Mapping[str, object]) -> str:  # noqa: ARG001 - they travel, as in Weft
    """Return a short text."""
    return ANSWER


def join(user_message: str) -> str:  # noqa: ARG001 - a callback gets no results
    """Return a short text."""
    return ANSWER


def create_broker() -> Actors:
    """Make the broker the one that is used, with the actors on it."""
    redis_url = os.environ[REDIS_URL]
    broker = RabbitmqBroker(url=os.environ[BROKER_URL], confirm_delivery=True)
    broker.add_middleware(GroupCallbacks(Counts(url=redis_url)))
    broker.add_middleware(Results(backend=RedisBackend(url=redis_url)))
    dramatiq.set_broker(broker)
    return Actors(broker)


def run_batch(actors: Actors, shape: Shape, runs: int) -> float:
    """Submit runs at once; return the seconds until the last result was there. Raises RunsLostError."""
    assert shape.name == "sample"
    started = time.perf_counter()
    ends = [actors.join.message(QUESTION) for _ in range(runs)]
    for end in ends:
        actors.upload.send(end.asdict())
    try:
        for end in ends:
            patience = max(0.01, started + PATIENCE - time.perf_counter())
            end.get_result(block=True, timeout=int(patience * 1000))
    except ResultTimeout as err:
        raise RunsLostError(f"{runs} runs had not ended after {PATIENCE:.0f} s") from err
    return time.perf_counter() - started


def main() -> None:
    """Be the client."""
    actors = create_broker()
    serve(lambda shape, runs: run_batch(actors, shape, runs))


if __name__ == "__main__":
    main()
