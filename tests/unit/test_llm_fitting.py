"""The stand-in's structured answers fit the schemas that they are made for."""

import json
from typing import Any

import pytest

from llm_worker.offline_model.answer import answer
from llm_worker.offline_model.chat import ChatRequest
from llm_worker.offline_model.fitting import Findings, fit
from shared.contracts.json_schema import compile_schema

SCHEMAS: list[dict[str, Any]] = [
    {},
    {"type": "object"},
    {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False},
    {"properties": {"deep": {"properties": {"er": {"type": "boolean"}}, "required": ["er"]}}, "required": ["deep"]},
    {"type": "array", "items": {"type": "integer"}, "minItems": 3, "maxItems": 3},
    {"type": "integer", "maximum": 3},
    {"type": "integer", "minimum": 300, "maximum": 310},
    {"type": "number", "exclusiveMinimum": 300},
    {"type": "integer", "exclusiveMaximum": 2},
    {"type": "integer", "multipleOf": 7},
    {"type": "string", "minLength": 50},
    {"type": "string", "maxLength": 3},
    {"enum": ["red", "blue"]},
    {"const": None},
    {"type": ["null", "string"]},
    {"anyOf": [{"type": "integer"}, {"type": "string"}]},
    {"$defs": {"x": {"type": "integer"}}, "type": "object", "properties": {"n": {"$ref": "#/$defs/x"}}},
    {"type": "object", "properties": {"child": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
def test_a_value_is_made_that_fits(schema: dict[str, Any]):
    value = fit(schema, Findings("A red car.", 42))
    compile_schema(schema).validate(value)
    assert json.loads(json.dumps(value)) == value


def chat(**fields: Any) -> ChatRequest:
    return ChatRequest.model_validate({"model": "offline", "messages": [{"role": "user", "content": "Hi"}], **fields})


def test_a_schema_is_answered_with_what_was_found():
    schema = {"type": "object", "properties": {"seen": {"type": "string"}}, "required": ["seen"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert "- Hi (1 word)" in json.loads(answer(chat(response_format=form), []).text or "")["seen"]
    assert json.loads(answer(chat(response_format={"type": "json_object"}), []).text or "")["answer"]


def test_a_stop_text_ends_the_answer():
    whole = answer(chat(), []).text or ""
    assert answer(chat(stop=["not", "model"]), []).text == whole.partition("not")[0]
    assert answer(chat(stop="Hi"), []).text == whole.partition("Hi")[0]
