"""From a JSON Schema to a value that fits it, made of what the stand-in knows; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, inf
from typing import Any, cast

_DEEPEST = 20
_FILLER = "."


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known: a text for strings, a number for numbers."""

    text: str
    number: int


def fit(schema: Mapping[str, Any], findings: Findings) -> Any:
    """Return a value for a schema: its constants where it has them, else what was found, within its bounds.

    Patterns, formats and conditions are not heeded; of alternatives the first is taken. Recursive schemas end in null.
    """
    return _Fitting(schema, findings).value(schema, 0)


class _Fitting:
    def __init__(self, root: Mapping[str, Any], findings: Findings) -> None:
        self._root = root
        self._findings = findings

    def value(self, schema: Any, depth: int) -> Any:
        rules = self._resolve(schema)
        if "const" in rules:
            return rules["const"]
        if choices := rules.get("enum"):
            return choices[0]
        if depth > _DEEPEST:
            return None
        return self._of_type(_first_type(rules), rules, depth + 1)

    def _of_type(self, name: str, rules: Mapping[str, Any], depth: int) -> Any:
        match name:
            case "object":
                return {key: self.value(part, depth) for key, part in rules.get("properties", {}).items()}
            case "array":
                return [self.value(rules.get("items", {}), depth) for _ in range(max(1, rules.get("minItems", 1)))]
            case "integer" | "number":
                return _within(self._findings.number, rules)
            case "boolean":
                return True
            case "null":
                return None
            case _:
                shortest, longest = rules.get("minLength", 0), rules.get("maxLength")
                return self._findings.text.ljust(shortest, _FILLER)[:longest]

    def _resolve(self, schema: Any) -> Mapping[str, Any]:
        """Return the rules behind a reference into the schema, or behind alternatives; none for `true`."""
        rules: Mapping[str, Any] = cast("Mapping[str, Any]", schema) if isinstance(schema, Mapping) else {}
        for _ in range(_DEEPEST):
            alternatives = rules.get("anyOf") or rules.get("oneOf") or rules.get("allOf")
            if reference := rules.get("$ref"):
                rules = self._at(str(reference))
            elif alternatives:
                rules = alternatives[0]
            else:
                break
        return rules

    def _at(self, reference: str) -> Mapping[str, Any]:
        place: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            place = place.get(step, {})
        return place


def _first_type(rules: Mapping[str, Any]) -> str:
    told = rules.get("type")
    if isinstance(told, list):
        return str(cast("list[Any]", told)[0])
    if told:
        return str(told)
    return "object" if "properties" in rules else "array" if "items" in rules else "string"


def _within(number: int, rules: Mapping[str, Any]) -> float:
    """Return the number if it is within the bounds, else the nearest that is."""
    lowest = rules.get("minimum", rules.get("exclusiveMinimum", -inf) + 1)
    highest = rules.get("maximum", rules.get("exclusiveMaximum", inf) - 1)
    bounded = max(lowest, min(number, highest))
    step = rules.get("multipleOf")
    return ceil(bounded / step) * step if step else bounded
