"""The floor: the same hops over the same broker with nothing but aio-pika; no state but what came back, in memory.

A start, a job and a result for each node that a worker does, and an end: persistent messages in quorum queues, each
confirmed, and acknowledged after what follows from it is confirmed. `worker` and `coordinator` make this module one of
them; without an argument it is the client. With a second argument, `together`, they do what makes Weft's messages
cheaper: results that come while one is on its way follow in one message, and acknowledgements are cumulative.
"""

import asyncio
import gc
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import uvloop

from benchmarks.measures import PATIENCE, RunsLostError
from benchmarks.peers.bare_broker import ENDS, JOBS, RESULTS, STARTS, Broker, open_broker
from benchmarks.peers.driving import serve
from benchmarks.shapes import ANSWER, PICTURE, QUESTION, Shape

WORKER_PREFETCH, COORDINATOR_PREFETCH = 64, 400  # as Weft's no-op workers and its orchestrator
MAX_TOGETHER = 20  # results in a message, as of Weft's workers
OBJECTS_BETWEEN_COLLECTIONS = 10_000  # as in Weft's services


class Run:
    """What came back of a run, and what each node still waits for."""

    def __init__(self, nodes: Sequence[tuple[str, Sequence[int]]]) -> None:
        self._nodes = nodes
        self._outputs: dict[int, object] = {}
        self._missing = [len(after) for _, after in nodes]
        self._followers = defaultdict[int, list[int]](list)
        for number, (_, after) in enumerate(nodes):
            for source in after:
                self._followers[source].append(number)

    def begin(self) -> list[int]:
        """Return the nodes that workers can do at once: an upload is none of theirs, and is there already."""
        first = [number for number, missing in enumerate(self._missing) if not missing]
        uploads = [number for number in first if self._nodes[number][0] == "upload"]
        ready = [number for number in first if number not in uploads]
        for number in uploads:
            ready += self.take(number, PICTURE)
        return ready

    def take(self, number: int, output: object) -> list[int]:
        """Keep an output; return the nodes that waited for it, and for nothing else any more."""
        if number in self._outputs:
            return []
        self._outputs[number] = output
        followers = self._followers[number]
        for follower in followers:
            self._missing[follower] -= 1
        return [follower for follower in followers if not self._missing[follower]]

    def job(self, number: int) -> Mapping[str, object]:
        """Return what a worker is told of a node."""
        kind, after = self._nodes[number]
        inputs = {str(source): self._outputs[source] for source in after}
        return {"node": number, "kind": kind, "params": {"userMessage": QUESTION}, "inputs": inputs}

    @property
    def ended(self) -> bool:
        """Whether nothing is open."""
        return len(self._outputs) == len(self._nodes)


class Coordinator:
    """Takes starts and results, publishes jobs and ends."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._runs: dict[str, Run] = {}

    async def start(self, body: Mapping[str, Any]) -> None:
        """Begin a run."""
        run = self._runs[body["run"]] = Run(body["nodes"])
        await self._publish_jobs(body["run"], run, run.begin())

    async def go_on(self, body: Mapping[str, Any]) -> None:
        """Take results; do what follows."""
        await asyncio.gather(*(self._take(result) for result in body["results"]))

    async def _take(self, body: Mapping[str, Any]) -> None:
        run = self._runs.get(body["run"])
        if run is None:
            return
        await self._publish_jobs(body["run"], run, run.take(body["node"], body["output"]))
        if run.ended and self._runs.pop(body["run"], None):
            await self._broker.publish(ENDS, run=body["run"], status="completed")

    async def _publish_jobs(self, run_id: str, run: Run, ready: Sequence[int]) -> None:
        await asyncio.gather(*(self._broker.publish(JOBS, run=run_id, **run.job(number)) for number in ready))


class Results:
    """Publishes results: each at once, or `together` those that come while some are on their way."""

    def __init__(self, broker: Broker, *, together: bool) -> None:
        self._broker = broker
        self._together = together
        self._waiting: list[tuple[Mapping[str, object], asyncio.Future[None]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def tell(self, **result: object) -> None:
        """Return when the broker has confirmed the result."""
        if not self._together:
            await self._broker.publish(RESULTS, results=[result])
            return
        told = asyncio.get_running_loop().create_future()
        self._waiting.append((result, told))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        await told

    async def _send(self) -> None:
        while self._waiting:
            together, self._waiting = self._waiting[:MAX_TOGETHER], self._waiting[MAX_TOGETHER:]
            await self._broker.publish(RESULTS, results=[result for result, _ in together])
            for _, told in together:
                told.set_result(None)
        self._sending = None


class Client:
    """Submits runs and hears of their ends."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._ends: dict[str, asyncio.Future[None]] = {}

    async def take(self, body: Mapping[str, Any]) -> None:
        """Note that a run ended."""
        if end := self._ends.pop(body["run"], None):
            end.set_result(None)

    async def run(self, shape: Shape, runs: int) -> float:
        """Submit runs at once; return the seconds until the last of them was told finished. Raises RunsLostError."""
        started = time.perf_counter()
        nodes = [(node.kind, node.after) for node in shape.nodes]
        ends = {str(uuid4()): asyncio.get_running_loop().create_future() for _ in range(runs)}
        self._ends.update(ends)
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*(self._broker.publish(STARTS, run=run_id, nodes=nodes) for run_id in ends))
                await asyncio.gather(*ends.values())
        except TimeoutError as err:
            raise RunsLostError(f"{len(self._ends)} of {runs} runs had not ended after {PATIENCE:.0f} s") from err
        return time.perf_counter() - started


async def be_worker(*, together: bool) -> None:
    """Do jobs, for ever."""
    async with open_broker(together=together) as broker:
        results = Results(broker, together=together)

        async def do(body: Mapping[str, Any]) -> None:
            output = PICTURE if body["kind"] == "crop" else ANSWER
            await results.tell(run=body["run"], node=body["node"], output=output)

        await broker.consume(JOBS, do, prefetch=WORKER_PREFETCH)
        await asyncio.Event().wait()


async def be_coordinator(*, together: bool) -> None:
    """Decide what is next, for ever."""
    async with open_broker(together=together) as broker:
        coordinator = Coordinator(broker)
        await broker.consume(STARTS, coordinator.start, prefetch=COORDINATOR_PREFETCH)
        await broker.consume(RESULTS, coordinator.go_on, prefetch=COORDINATOR_PREFETCH)
        await asyncio.Event().wait()


def be_client() -> None:
    """Do the batches that are asked for; the loop stands still between them."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        opened = open_broker()
        broker = runner.run(opened.__aenter__())
        client = Client(broker)
        runner.run(broker.consume(ENDS, client.take, prefetch=COORDINATOR_PREFETCH))
        serve(lambda shape, runs: runner.run(client.run(shape, runs)))
        runner.run(opened.__aexit__(None, None, None))


def _collect_garbage_seldom() -> None:
    """Let Python look for unreachable cycles as seldom as in Weft's services: it is no cost of the broker's."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS, 10, 10)


def main() -> None:
    """Be a worker, the coordinator, or the client."""
    _collect_garbage_seldom()
    match sys.argv[1:]:
        case ["worker", *how]:
            uvloop.run(be_worker(together="together" in how))
        case ["coordinator", *how]:
            uvloop.run(be_coordinator(together="together" in how))
        case _:
            be_client()


if __name__ == "__main__":
    main()
