"""How a run is to be carried out: how urgent it is, what it may cost, how long it may take, what it shares."""

from enum import StrEnum

from pydantic import Field

from shared.contracts.base import Contract

DEFAULT_WINDOW = 6
DEFAULT_IN_FLIGHT = 64
MAX_IN_FLIGHT = 1_000
DEFAULT_RUN_TIMEOUT = 24 * 3600.0  # seconds
MAX_RUN_TIMEOUT = 30 * 24 * 3600.0
MAX_COST = 1_000_000.0
MAX_TOKENS = 10**12
MAX_CONCURRENT_RUNS = 10_000


class Priority(StrEnum):
    """How urgent a run is beside others."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Lane(StrEnum):
    """The queues that each type of job has, most urgent first.

    `suspect` is for jobs that were in hand when a worker died: of these a worker takes one at a time, so that it is
    known which job killed it.
    """

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
    SUSPECT = "suspect"

    def name_in(self, name: str) -> str:
        """Return the name of a queue, or a routing key, for the jobs of this lane."""
        return name if self is Lane.NORMAL else f"{name}.{self}"


class Scope(StrEnum):
    """Which nodes of the workflow a run executes: all, those that are selected, or a single one."""

    FULL = "full"
    SELECTED = "selected"
    SINGLE = "single"


class Budget(Contract):
    """What a run may use of models. Once it is reached, no further model is asked; calls under way are let end.

    `max_cost` is in US dollars; `max_tokens` counts input and output together.
    """

    max_cost: float | None = Field(default=None, ge=0, le=MAX_COST)
    max_tokens: int | None = Field(default=None, ge=0, le=MAX_TOKENS)


class Concurrency(Contract):
    """Of all runs with this key, at most `limit` go on at the same time; others wait as `queued`, in order."""

    key: str = Field(min_length=1, max_length=200)
    limit: int = Field(default=1, ge=1, le=MAX_CONCURRENT_RUNS)


class RunOptions(Contract):
    """How to carry a run out.

    `timeout` is in seconds, from the acceptance of the run: what is open then fails. `max_in_flight` is how many of its
    nodes are with workers or in their queues at the same time; `window` is how many of these may be quick or waiting:
    one that has been with a worker for a second makes room for the next. `use_cache` false executes every node anew.
    """

    priority: Priority = Priority.NORMAL
    timeout: float = Field(default=DEFAULT_RUN_TIMEOUT, gt=0, le=MAX_RUN_TIMEOUT)
    max_in_flight: int = Field(default=DEFAULT_IN_FLIGHT, ge=1, le=MAX_IN_FLIGHT)
    window: int = Field(default=DEFAULT_WINDOW, ge=1, le=MAX_IN_FLIGHT)
    budget: Budget | None = None
    concurrency: Concurrency | None = None
    use_cache: bool = True
