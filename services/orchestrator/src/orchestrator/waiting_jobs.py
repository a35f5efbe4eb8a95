"""Telling of jobs that wait: those who watch see where a run stands, and of a job that is soon over its result tells.

So a job on an idle system costs no word of its own. What is told here may be lost: no job depends on it, and a result
tells since when its job had waited.
"""

import asyncio
from collections.abc import Iterable, Sequence
from uuid import UUID

from shared.contracts.bundles import bundled
from shared.contracts.envelope import NodeMessage
from shared.contracts.events import NodeQueued
from shared.messaging.publisher import BundlePublisher

TOLD_AFTER_SECONDS = 0.1

_Attempt = tuple[UUID, str, int]


class WaitingJobs:
    """Holds the word that a job is queued back, and publishes it when the job has waited for a moment."""

    def __init__(self, publisher: BundlePublisher) -> None:
        self._publisher = publisher
        self._held: dict[_Attempt, NodeQueued] = {}

    def note(self, queued: Sequence[NodeQueued]) -> None:
        """Tell of these jobs in a moment, unless they are over by then."""
        if queued:
            self._held |= {_attempt(message): message for message in queued}
            asyncio.get_running_loop().call_later(TOLD_AFTER_SECONDS, self._tell, queued)

    def forget(self, ended: Iterable[NodeMessage]) -> None:
        """Do not tell of these jobs: they are over, and what ended them tells since when they had waited."""
        for message in ended:
            self._held.pop(_attempt(message), None)

    def tell(self) -> None:
        """Tell of all jobs now."""
        self._tell(list(self._held.values()))

    def _tell(self, queued: Iterable[NodeQueued]) -> None:
        for bundle in bundled(message for message in queued if self._held.pop(_attempt(message), None)):
            self._publisher.publish_unawaited(bundle)


def _attempt(message: NodeMessage) -> _Attempt:
    return message.run_id, message.node_id, message.attempt
