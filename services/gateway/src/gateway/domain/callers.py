"""Who asks, what they may do, and what they may see."""

from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from shared.contracts.owners import LOCAL_OWNER


class KeyScope(StrEnum):
    """What a key is good for: to look, to change and to run, to administer; each includes those before it."""

    READ = "read"
    RUN = "run"
    ADMIN = "admin"


_RANKS = {scope: rank for rank, scope in enumerate(KeyScope)}
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key is limited to; None is no limit.

    `daily_budget` is in US dollars and counts runs by the day (UTC) on which they were started.
    """

    requests_per_minute: int | None = None
    concurrent_runs: int | None = None
    daily_budget: float | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever holds a key."""

    key_id: UUID
    owner: str
    scopes: frozenset[KeyScope]
    limits: Limits = field(default_factory=Limits)

    @property
    def sees_only(self) -> str | None:
        """The one owner whose things the caller sees; None for those who see all, also what nobody owns."""
        return None if self.may(KeyScope.ADMIN) else self.owner

    def may(self, wanted: KeyScope) -> bool:
        """Tell whether the caller has a scope, or one that includes it."""
        return any(_RANKS[scope] >= _RANKS[wanted] for scope in self.scopes)

    def sees(self, owner: str | None) -> bool:
        """Tell whether the caller sees what belongs to an owner, or to nobody."""
        return self.sees_only in (None, owner)


NOBODY = Caller(UUID(int=0), LOCAL_OWNER, frozenset())


def scope_of_method(method: str) -> KeyScope:
    """Return what a request needs at the least."""
    return KeyScope.READ if method in _SAFE_METHODS else KeyScope.RUN
