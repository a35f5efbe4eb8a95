"""A worker by hand: the test takes jobs of a type, and tells their results when and as it likes."""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from tests.chaos.obedient_worker import answer_to
from tests.chaos.waiting import eventually

from shared.contracts.commands import NodeExecute, read_job
from shared.contracts.events import NodeSucceeded
from shared.contracts.node_types import REGISTRY
from shared.contracts.run_options import Lane
from shared.messaging.connection import connect
from shared.messaging.publisher import Publisher, open_publisher
from shared.topology import worker_address

PATIENCE = 30.0


class HandWorker:
    """`jobs` holds all that have come, in the order of their arrival, also those that came twice."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self.jobs: list[NodeExecute] = []

    async def consume(self, channel: AbstractChannel) -> None:
        """Take all jobs that come."""
        for lane in Lane:
            queue = await channel.declare_queue(REGISTRY["llm"].job_queue(lane), passive=True)
            await queue.consume(self._take)

    async def wait_for(self, count: int, accept: Callable[[NodeExecute], bool] = lambda _: True) -> list[NodeExecute]:
        """Return the jobs of a kind, once so many of them have come."""

        async def enough() -> bool:
            return sum(map(accept, self.jobs)) >= count

        await eventually(f"{count} jobs have come", enough, within=PATIENCE)
        return [job for job in self.jobs if accept(job)]

    async def tell(self, jobs: Iterable[NodeExecute]) -> None:
        """Tell that jobs succeeded, all at once."""
        await self._publisher.publish_all(map(succeeded, jobs))

    async def _take(self, delivery: AbstractIncomingMessage) -> None:
        self.jobs.append(read_job(delivery.body))
        await delivery.ack()


def succeeded(job: NodeExecute) -> NodeSucceeded:
    return NodeSucceeded(**job.about, at=datetime.now(UTC), output=answer_to(job), seconds=0.0)


@asynccontextmanager
async def hand_worker(url: str) -> AsyncGenerator[HandWorker]:
    """Yield a worker that takes jobs already."""
    async with (
        open_publisher(url, app_id="hand_worker", patience=PATIENCE, address=worker_address) as publisher,
        connect(url, name="hand worker", patience=PATIENCE) as connection,
    ):
        worker = HandWorker(publisher)
        await worker.consume(await connection.channel())
        yield worker
