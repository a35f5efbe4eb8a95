"""JSON answers: what is found in a text, and how it fits its schema; and schemas that are none."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from llm_worker.domain.structured import MisfitError, complaint, fitting_json
from shared.contracts.json_schema import MAX_SCHEMA_CHARACTERS, compile_schema
from shared.contracts.llm_params import LlmParams

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "tags": {"type": "array", "items": {"type": "string"}}},
    "required": ["n"],
}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"n": 1}', '{"n": 1}'),
        (' \n{"n": 1}\n', '{"n": 1}'),
        ('```json\n{"n": 1}\n```', '{"n": 1}'),
        ('```\n{\n "n": 1\n}\n```\n', '{\n "n": 1\n}'),
        ('```JSON\n{"n": 1, "tags": ["```"]}\n```', '{"n": 1, "tags": ["```"]}'),
    ],
)
def test_json_that_fits_is_returned_without_its_wrapping(text: str, found: str):
    assert fitting_json(text, SCHEMA) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ('Here you are: {"n": 1}', "not JSON"),
        ('{"n": 1', "line 1, column"),
        ('{"n": NaN}', "NaN is no number"),
        ("[" * 100_000, "not JSON of a sensible size"),
        ('{"n": ' + "1" * 5_000 + "}", "not JSON of a sensible size"),
        ("[]", "at the top"),
        ("{}", "required"),
        ('{"n": "1"}', "at n: "),
        ('{"n": 1, "tags": ["a", 2]}', "at tags/1: "),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(text: str, words: str):
    with pytest.raises(MisfitError, match=words) as caught:
        fitting_json(text, SCHEMA)
    assert str(caught.value) in complaint(caught.value)


def test_what_is_told_of_a_misfit_is_short_whatever_the_answer():
    wide = {"type": "object", "additionalProperties": {"type": "integer"}}
    text = json.dumps({f"key{number}": "x" * 10_000 for number in range(100)})
    with pytest.raises(MisfitError) as caught:
        fitting_json(text, wide)
    assert len(str(caught.value)) < 2_000


def test_a_pattern_cannot_keep_the_worker_busy():
    evil = {"type": "string", "pattern": "^(a+)+$"}
    with pytest.raises(MisfitError):
        fitting_json(json.dumps("a" * 50_000 + "!"), evil)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "objct"}, "at type"),
        ({"properties": 7}, "at properties"),
        ({"$ref": "http://127.0.0.1:9/x.json"}, "no JSON Schema"),
        ({"$ref": "file:///etc/passwd"}, "no JSON Schema"),
        ({"$ref": "#/$defs/missing"}, "no JSON Schema"),
        ({"pattern": "(?=a)b"}, "at pattern"),
        ({"description": "x" * MAX_SCHEMA_CHARACTERS}, "characters"),
    ],
)
def test_what_is_no_schema_is_refused_before_a_run_begins(schema: dict[str, Any], words: str):
    with pytest.raises(ValueError, match=words):
        compile_schema(schema)
    with pytest.raises(ValidationError, match=r"(?i)response_?schema"):
        LlmParams.model_validate({"responseSchema": schema})


@pytest.mark.parametrize(
    "params",
    [
        {"seed": -1},
        {"seed": 2**31},
        {"stop": [""]},
        {"stop": ["x"] * 17},
        {"repairAttempts": 4},
        {"maxOutputTokens": 32_769},
        {"temperature": 2.1},
        {"colour": "red"},
    ],
)
def test_params_beyond_their_bounds_are_refused(params: dict[str, Any]):
    with pytest.raises(ValidationError):
        LlmParams.model_validate(params)


def test_old_params_stay_valid():
    old = {"model": "offline", "systemPrompt": "Be brief.", "userMessage": "What is it?", "temperature": 0.5}
    assert LlmParams.model_validate(old).repair_attempts == 1
