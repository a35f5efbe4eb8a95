"""Looks at the queues of the broker, by passive declares: they need no plugin and change nothing."""

from shared import topology
from shared.contracts.base import Contract
from shared.contracts.errors import UnavailableError
from shared.messaging.connection import connect

PATIENCE_SECONDS = 3.0


class QueueView(Contract):
    """A queue as it is now. `messages` are those that are ready; the counts of a missing queue are not known."""

    name: str
    exists: bool
    dead_letters: bool
    messages: int | None = None
    consumers: int | None = None

    def as_row(self) -> tuple[str, str, str, str]:
        """Return name, messages, consumers and remark as they are shown to people."""
        if not self.exists:
            return self.name, "-", "-", "missing; make it with: weft setup"
        return self.name, str(self.messages), str(self.consumers), "dead letters" if self.dead_letters else ""


class QueueList(Contract):
    """All queues of the topology."""

    queues: tuple[QueueView, ...]


async def look_at_queues(amqp_url: str) -> tuple[QueueView, ...]:
    """Return every queue of the topology; raise UnavailableError if the broker cannot be reached."""
    async with connect(amqp_url, name="weft queues", patience=PATIENCE_SECONDS) as connection:
        dead = {queue.dead_letter_queue for queue in topology.QUEUES}
        views: list[QueueView] = []
        for queue in topology.QUEUES:
            view = QueueView(name=queue.name, exists=False, dead_letters=queue.name in dead)
            try:
                # A channel for each: the broker closes the one on which a missing queue was asked for.
                async with connection.channel() as channel:
                    found = (await topology.check_queue(channel, queue.name)).declaration_result
            except UnavailableError as err:
                if err.code != "topology_missing":
                    raise
                views.append(view)
            else:
                counts = {"messages": found.message_count, "consumers": found.consumer_count}
                views.append(view.model_copy(update={"exists": True, **counts}))
        return tuple(views)
