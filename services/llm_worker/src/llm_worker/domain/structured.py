"""Answers in JSON: what is looked for in a text, and how it fits a JSON Schema; pure."""

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from shared.contracts.json_schema import compile_schema

_FENCED = re.compile(r"```(?:json)?\s*\n(?P<json>.*?)\n?\s*```", re.DOTALL | re.IGNORECASE)
_PROBLEMS_SHOWN = 5
_PROBLEM_CHARACTERS = 300


class MisfitError(Exception):
    """A text that is not JSON of the form asked for; the message says what is wrong with it."""


def fitting_json(text: str, schema: Mapping[str, Any]) -> str:
    """Return the JSON in a model's answer, without what models like to put around it; raise MisfitError."""
    stripped = text.strip()
    fenced = _FENCED.fullmatch(stripped)
    found = fenced["json"].strip() if fenced else stripped
    _check(_parse(found), schema)
    return found


def complaint(problem: MisfitError) -> str:
    """Return what a model is told of an answer that did not fit."""
    return (
        f"That answer does not fit the JSON Schema: {problem}. "
        "Answer again, with the corrected JSON only: no explanation, no code fence."
    )


def _parse(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as err:
        raise MisfitError(f"it is not JSON ({err.msg} at line {err.lineno}, column {err.colno})") from err
    except (RecursionError, ValueError) as err:
        raise MisfitError("it is not JSON of a sensible size") from err


def _refuse_constant(name: str) -> NoReturn:
    raise MisfitError(f"it is not JSON ({name} is no number)")


def _check(value: Any, schema: Mapping[str, Any]) -> None:
    errors = list(compile_schema(schema).iter_errors(value))
    if errors:
        shown = [f"at {_place(error.instance_path)}: {error.message}" for error in errors[:_PROBLEMS_SHOWN]]
        raise MisfitError("; ".join(line[:_PROBLEM_CHARACTERS] for line in shown))


def _place(path: list[str | int]) -> str:
    return "/".join(str(step) for step in path) or "the top"
