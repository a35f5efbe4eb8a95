"""What operators are told of the queues: the broker's word, the run tracker's, and what the events say."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

from gateway.domain.levels import by_node_type, with_consumers_missed
from gateway.domain.rates import WINDOW_SECONDS, Rates, first_jobs
from gateway.tracker_client import TrackerClient
from shared.contracts.errors import Problem, UnavailableError, invalid
from shared.contracts.events import NodeQueued, RunStarted
from shared.contracts.node_types import WORKER_TYPES
from shared.contracts.queues import QueueDetails, QueuesView
from shared.messaging.levels import LevelReader
from shared.messaging.live import StreamedEvent

_NODE_TYPES = tuple(node_type.name for node_type in WORKER_TYPES)


class Queues:
    """Tells how full the queues are, and what is wrong with them."""

    def __init__(self, reader: LevelReader, tracker: TrackerClient) -> None:
        self._reader = reader
        self._tracker = tracker
        self._rates = Rates(_NODE_TYPES, datetime.now(UTC).timestamp())

    def hear(self, told: StreamedEvent) -> None:
        """Count what an event tells of jobs."""
        if told.at is None:
            return
        if told.node_type:
            self._rates.note(told.kind, told.node_type, told.at.timestamp())
        elif told.kind == RunStarted.kind_name():
            for node_type in first_jobs(told.body):
                self._rates.note(NodeQueued.kind_name(), node_type, told.at.timestamp())

    async def all(self) -> QueuesView:
        """Return all queues; raise `broker_unreachable`. Without the run tracker it is not known what is oldest."""
        levels, (oldest, failures) = await asyncio.gather(self._reader.read(), self._oldest())
        now, queues = datetime.now(UTC), with_consumers_missed(levels.queues)
        flows = {name: self._rates.flow(name, now.timestamp()) for name in _NODE_TYPES}
        return QueuesView(
            at=now,
            source=levels.source,
            window_seconds=WINDOW_SECONDS,
            node_types=by_node_type(_NODE_TYPES, queues, flows, oldest, now),
            queues=queues,
            warnings=(*levels.warnings, *failures),
        )

    async def one(self, name: str) -> QueueDetails:
        """Return one queue, with the node type that it belongs to; raise `queue_not_found`."""
        view = await self.all()
        found = next((level for level in view.queues if level.name == name), None)
        if found is None:
            raise invalid(
                "queue_not_found",
                f"Weft has no queue {name!r}",
                where="name",
                fix="see the names of all: weft queues list",
            )
        node_type = next((item for item in view.node_types if item.node_type == found.node_type), None)
        return QueueDetails(at=view.at, source=view.source, queue=found, node_type=node_type, warnings=view.warnings)

    async def _oldest(self) -> tuple[Mapping[str, datetime], tuple[Problem, ...]]:
        try:
            waiting = await self._tracker.find_waiting()
        except UnavailableError as err:
            return {}, err.problems
        return {job.node_type: job.queued_at for job in waiting}, ()
