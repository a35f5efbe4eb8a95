"""JSON Schemas that people supply, and models fill; the only module that imports jsonschema_rs."""

import json
from collections.abc import Mapping
from typing import Any

from jsonschema_rs import RegexOptions, ValidationError, Validator, validator_for

MAX_SCHEMA_CHARACTERS = 32_000

# Patterns are people's, texts are models': an engine that goes back could be kept busy for ever.
_LINEAR_PATTERNS = RegexOptions()


def compile_schema(schema: Mapping[str, Any]) -> Validator:
    """Return what validates values; raise ValueError, saying what is wrong with the schema.

    Nothing is fetched: a `$ref` must point into the schema. Patterns know neither look-around nor back-references.
    """
    size = len(json.dumps(schema, ensure_ascii=False))
    if size > MAX_SCHEMA_CHARACTERS:
        raise ValueError(f"the schema has {size:,} characters, and {MAX_SCHEMA_CHARACTERS:,} are allowed")
    try:
        return validator_for(dict(schema), offline=True, pattern_options=_LINEAR_PATTERNS)
    except ValidationError as err:
        place = "/".join(str(step) for step in err.instance_path)
        raise ValueError(f"this is no JSON Schema{f', at {place}' if place else ''}: {err.message}") from err
