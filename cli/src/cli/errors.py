"""Exit codes, and how errors are told: one line for each problem, never a traceback."""

import os
import sys
import tempfile
import traceback
from enum import IntEnum

from shared.contracts.errors import InvalidInputError, Problem, WeftError


class ExitCode(IntEnum):
    """What the process says when it ends."""

    OK = 0
    RUN_FAILED = 1
    CHECK_FAILED = 1  # the same number, for what was looked at and is not well
    USAGE = 2
    UNAVAILABLE = os.EX_UNAVAILABLE
    DEFECT = os.EX_SOFTWARE
    TIMED_OUT = 124
    INTERRUPTED = 130


class WaitTimedOutError(WeftError):
    """What was waited for did not end in the time that was given; it goes on."""


def tell_problem(problem: Problem) -> None:
    """Write the problem to stderr in one line: code, what, where, what to do."""
    place = ", ".join(part for part in (problem.node_id and f"node {problem.node_id}", problem.where) if part)
    line = str(problem.model_copy(update={"where": place or None}))
    sys.stderr.write(f"weft: {problem.code}: {' '.join(line.split())}\n")


def tell_error(err: WeftError) -> ExitCode:
    """Write every problem of the error to stderr, and return the exit code that it asks for."""
    for problem in err.problems:
        tell_problem(problem)
    match err:
        case WaitTimedOutError():
            return ExitCode.TIMED_OUT
        case InvalidInputError():
            return ExitCode.USAGE
        case _:
            return ExitCode.UNAVAILABLE


def tell_defect(err: Exception) -> ExitCode:
    """Write one line about an error that nobody foresaw; its traceback goes into a file that the line names."""
    with tempfile.NamedTemporaryFile("w", prefix="weft-", suffix=".log", delete=False) as file:
        file.writelines(traceback.format_exception(err))
    tell_problem(
        Problem(
            code="internal_error",
            message=f"{type(err).__name__}: {err}",
            where=file.name,
            fix="this is a defect of weft: please report it with that file",
        )
    )
    return ExitCode.DEFECT
