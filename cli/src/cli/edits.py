"""Params of nodes from the command line: `--param node.param=value`."""

from collections.abc import Mapping, Sequence

from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import from_json

from cli.inputs import not_understood, read_pairs
from shared.contracts.errors import InvalidInputError, Problem
from shared.contracts.node_types import REGISTRY

OPTION = "--param"
FORM = "NODE.PARAM=VALUE"

Edits = Mapping[str, Mapping[str, str]]  # by node, by name of the param; as they were written


def read_edits(options: Sequence[str]) -> Edits:
    """Return what the options say; raise InvalidInputError `invalid_option` with every one that says nothing."""
    problems: list[Problem] = []
    edits: dict[str, dict[str, str]] = {}
    for place, content in read_pairs(OPTION, FORM, options, problems).items():
        node_id, _, name = place.rpartition(".")
        if node_id and name:
            edits.setdefault(node_id, {})[name] = content
        else:
            problems.append(not_understood(OPTION, FORM, f"{place}={content}"))
    if problems:
        raise InvalidInputError(*problems)
    return edits


def read_params(options: Sequence[str], node_type: str | None) -> dict[str, JsonValue]:
    """Return params for whichever nodes are meant, of that type if it is known; raise `invalid_option`."""
    problems: list[Problem] = []
    pairs = read_pairs(OPTION, "PARAM=VALUE", options, problems)
    if problems:
        raise InvalidInputError(*problems)
    return {name: _value(_field(node_type, name), content) for name, content in pairs.items()}


def typed(edits: Edits, node_types: Mapping[str, str]) -> dict[str, dict[str, JsonValue]]:
    """Return the edits with their values as the params take them; `node_types` are the nodes' types, where known.

    A param that takes the text as it is written gets it so; for any other it is read as JSON where it is any.
    """
    return {
        node_id: {name: _value(_field(node_types.get(node_id), name), content) for name, content in params.items()}
        for node_id, params in edits.items()
    }


def _field(node_type: str | None, name: str) -> FieldInfo | None:
    known = REGISTRY.get(node_type or "")
    fields = known.params.model_fields.items() if known else ()
    return next((field for own, field in fields if name in {own, field.alias}), None)


def _value(field: FieldInfo | None, content: str) -> JsonValue:
    if field and _takes(field, content):
        return content
    try:
        return from_json(content, allow_inf_nan=False)
    except ValueError:
        return content


def _takes(field: FieldInfo, content: str) -> bool:
    try:
        TypeAdapter[object](field.annotation or object).validate_python(content, strict=True)
    except ValidationError:
        return False
    return True
