"""What a check finds."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import StrEnum

from shared.contracts.base import Contract
from shared.contracts.errors import Problem
from shared.settings import Settings


class Level(StrEnum):
    """How well it is; what was skipped could not be looked at, or does not matter here."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


class Finding(Contract):
    """One thing that was looked at. `fix` says what to do, where anything is to be done."""

    check: str
    level: Level
    message: str
    fix: str | None = None


class Report(Contract):
    """All findings; `ok` if none is a failure."""

    ok: bool
    findings: tuple[Finding, ...]


Check = Callable[[Settings], Awaitable[Sequence[Finding]]]


class Findings:
    """The findings of one check, in the order in which they are made."""

    def __init__(self, check: str) -> None:
        self._check = check
        self.made: list[Finding] = []

    def ok(self, message: str) -> None:
        """Note that something is well."""
        self._add(Level.OK, message)

    def warn(self, message: str, fix: str) -> None:
        """Note what may do harm."""
        self._add(Level.WARNING, message, fix)

    def fail(self, message: str, fix: str | None) -> None:
        """Note what keeps Weft from working."""
        self._add(Level.FAILURE, message, fix)

    def skip(self, message: str, fix: str | None = None) -> None:
        """Note what could not be looked at."""
        self._add(Level.SKIPPED, message, fix)

    def fail_with(self, problems: Iterable[Problem]) -> None:
        """Note problems as they were told by what was asked."""
        for problem in problems:
            self.fail(problem.message, problem.fix)

    def _add(self, level: Level, message: str, fix: str | None = None) -> None:
        self.made.append(Finding(check=self._check, level=level, message=" ".join(message.split()), fix=fix))
