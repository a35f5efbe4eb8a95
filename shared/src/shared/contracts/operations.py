"""What operators ask the run tracker about jobs, whichever runs these are of: which wait longest, what became of some.

The gateway asks; its own answers, with what the broker tells beside them, are in `queues` and `dead_letters`.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.base import SCHEMA_VERSION, Contract
from shared.contracts.errors import Problem
from shared.contracts.owners import Owner
from shared.contracts.states import NodeStatus, RunStatus

MAX_ATTEMPTS_ASKED = 1_000


class FindWaiting(Contract):
    """Ask which job of each node type has waited longest for a worker."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["waiting.find"] = "waiting.find"


class WaitingJob(Contract):
    """The job of a node type that has waited longest."""

    node_type: str
    queued_at: datetime


class WaitingReply(Contract):
    """The answer to FindWaiting; node types of which no job waits are missing."""

    jobs: tuple[WaitingJob, ...] = ()


class AttemptKey(Contract):
    """An attempt at a node of a run."""

    run_id: UUID
    node_id: str
    attempt: int


class FindAttempts(Contract):
    """Ask what became of these attempts, and of the nodes and runs that they belong to."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["attempts.find"] = "attempts.find"
    attempts: tuple[AttemptKey, ...] = Field(max_length=MAX_ATTEMPTS_ASKED)


class AttemptStand(AttemptKey):
    """How things stand with an attempt. `latest` is the latest attempt at its node, `status` that of the node.

    `worker` and `error` are those of the attempt that was asked about, as far as anybody told.
    """

    run_status: RunStatus
    owner: Owner | None = None
    status: NodeStatus | None = None
    latest: int = 0
    worker: str | None = None
    error: Problem | None = None


class AttemptsReply(Contract):
    """The answer to FindAttempts; those of runs that the tracker does not know are missing."""

    attempts: tuple[AttemptStand, ...] = ()
