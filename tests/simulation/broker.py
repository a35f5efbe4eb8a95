"""A broker that does all that a real one may do: delivers in any order, repeats, and loses nothing it confirmed."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestrator.domain.intake import Incoming
from shared.contracts.bundles import Bundle, Publishable, telling
from shared.contracts.commands import NodeAbandon, NodeExecute, RunCommand
from shared.contracts.envelope import Message
from shared.contracts.events import read_event


class CrashError(Exception):
    """The process died here."""


@dataclass
class Broker:
    """`inbox` holds what orchestrators consume, `jobs` what workers do, `events` all that anybody was told."""

    inbox: list[Incoming] = field(default_factory=list[Incoming])
    jobs: list[NodeExecute] = field(default_factory=list[NodeExecute])
    events: list[Message] = field(default_factory=list[Message])

    def publish(self, message: Publishable) -> None:
        if isinstance(message, Bundle):
            self.events += telling(read_event)(message.body).messages
            return
        if isinstance(message, NodeExecute):
            self.jobs.append(message)
        elif isinstance(message, RunCommand):
            self.inbox.append(message)
        assert message.to_json()
        self.events.append(message)


class Publisher:
    """Publishes for one process, which may be told to die after so many messages."""

    def __init__(self, broker: Broker, seed: int) -> None:
        self._broker = broker
        self._random = random.Random(seed)
        self.dies_after: int | None = None

    async def publish(self, message: Message) -> None:
        await self.publish_all([message])

    async def publish_all(self, messages: Iterable[Publishable]) -> None:
        distinct = list({message.message_id: message for message in messages}.values())
        if self.dies_after is not None:
            # Confirms are pipelined: any part of a batch may have reached the broker.
            self._random.shuffle(distinct)
        for message in distinct:
            self._count()
            self._broker.publish(message)
        self._count()

    def publish_unawaited(self, message: Publishable) -> None:
        assert isinstance(message, NodeAbandon)

    def _count(self) -> None:
        if self.dies_after is None:
            return
        if self.dies_after == 0:
            raise CrashError
        self.dies_after -= 1
