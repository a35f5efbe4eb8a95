"""Errors that a person can cause or meet: a stable code, what was wrong, where, and what to do."""

from shared.contracts.base import Contract


class Problem(Contract):
    """One thing that is wrong, as it is shown to people and sent over the wire.

    `code` is stable and in snake_case; `message` says what was wrong; `where` names the file, setting,
    parameter, edge or address; `node_id` the node it concerns; `fix` says what to do about it.
    """

    code: str
    message: str
    where: str | None = None
    node_id: str | None = None
    fix: str | None = None

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        advice = f" -> {self.fix}" if self.fix else ""
        return f"{self.message}{place}{advice}"


class WeftError(Exception):
    """Base of all errors with a stable code; carries every problem found, at least one."""

    def __init__(self, *problems: Problem) -> None:
        if not problems:
            raise ValueError("a WeftError names at least one problem")
        super().__init__("; ".join(f"{problem.code}: {problem}" for problem in problems))
        self.problems = problems

    @property
    def code(self) -> str:
        """The code of the first problem."""
        return self.problems[0].code


class InvalidInputError(WeftError):
    """Something a person supplied cannot be used; doing the same again cannot help."""


class UnavailableError(WeftError):
    """Something Weft depends on cannot be reached or used right now; trying again later may help."""


def invalid(
    code: str, message: str, *, where: str | None = None, node_id: str | None = None, fix: str | None = None
) -> InvalidInputError:
    """Return an InvalidInputError with a single problem."""
    return InvalidInputError(Problem(code=code, message=message, where=where, node_id=node_id, fix=fix))


def unavailable(code: str, message: str, *, where: str | None = None, fix: str | None = None) -> UnavailableError:
    """Return an UnavailableError with a single problem."""
    return UnavailableError(Problem(code=code, message=message, where=where, fix=fix))
