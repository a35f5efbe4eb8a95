"""What goes in and out of the HTTP API about keys."""

from datetime import datetime
from uuid import UUID

from pydantic import ConfigDict, Field

from gateway.domain.callers import KeyScope
from gateway.views import RequestBody
from shared.contracts.base import Contract
from shared.contracts.cursors import Moment
from shared.contracts.owners import Owner
from shared.contracts.run_options import MAX_CONCURRENT_RUNS, MAX_COST

MAX_REQUESTS_PER_MINUTE = 1_000_000


class KeyDraft(RequestBody):
    """A key to make. `dailyBudget` is in US dollars; what is left out is not limited."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "the shop's backend", "owner": "shop", "concurrentRuns": 20}]}
    )

    name: str = Field(min_length=1, max_length=200, description="for people")
    owner: Owner
    scopes: tuple[KeyScope, ...] = Field(default=(KeyScope.RUN,), min_length=1, max_length=len(KeyScope))
    requests_per_minute: int | None = Field(default=None, ge=1, le=MAX_REQUESTS_PER_MINUTE)
    concurrent_runs: int | None = Field(default=None, ge=1, le=MAX_CONCURRENT_RUNS)
    daily_budget: float | None = Field(default=None, ge=0, le=MAX_COST)
    expires_at: Moment | None = None


class KeyView(Contract):
    """A key without its secret."""

    key_id: UUID
    name: str
    owner: Owner
    scopes: tuple[KeyScope, ...]
    requests_per_minute: int | None = None
    concurrent_runs: int | None = None
    daily_budget: float | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class NewKeyView(KeyView):
    """A key that was just made: `key` is shown this once."""

    key: str


class KeyList(Contract):
    """Keys, newest first."""

    keys: tuple[KeyView, ...]
