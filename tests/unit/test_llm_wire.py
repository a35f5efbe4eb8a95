"""What a call says to each kind of server."""

from dataclasses import replace
from typing import Any

import pytest

from llm_worker.domain.advice import advice_for
from llm_worker.domain.directory import Chosen
from llm_worker.domain.failures import ModelErrorCode
from llm_worker.domain.model import Correction, ModelReply, ModelRequest
from llm_worker.domain.profiles import PROFILES, Profile
from llm_worker.domain.prompt import Prompt
from llm_worker.domain.provider import Provider
from llm_worker.domain.question import make_question, reply_warnings
from llm_worker.domain.usage import add_usage
from llm_worker.domain.wire import call_body
from shared.contracts.errors import InvalidInputError
from shared.contracts.events import Usage
from shared.contracts.llm_params import LlmParams

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
REQUEST = ModelRequest(
    model="m",
    system_prompt="Be brief.",
    user_message="Hello",
    images=("data:image/jpeg;base64,AA==",),
    max_output_tokens=16,
    temperature=0.5,
    seed=7,
    stop=("END",),
)


def test_the_common_base_of_all_servers():
    assert call_body(REQUEST, PROFILES["generic"]) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Hello"},
                    {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,AA=="}},
                ],
            },
        ],
        "max_tokens": 16,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "seed": 7,
        "stop": ["END"],
    }


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_the_output_is_capped_whoever_is_asked_and_what_is_not_set_is_not_sent(profile: Profile):
    body = call_body(ModelRequest("m", None, "Hello", (), 16), profile)
    assert body[profile.output_limit] == 16
    assert set(body) == {"model", "messages", profile.output_limit, "stream", "stream_options"}
    assert body["messages"] == [{"role": "user", "content": "Hello"}]


def test_openai_has_names_of_its_own():
    body = call_body(replace(REQUEST, model="o3-mini"), PROFILES["openai"])
    assert body["max_completion_tokens"] == 16
    assert body["messages"][0]["role"] == "developer"
    assert {"temperature", "stop", "max_tokens"}.isdisjoint(body)
    assert body["seed"] == 7


def test_gemini_is_sent_no_seed_for_it_refuses_unknown_fields():
    assert "seed" not in call_body(REQUEST, PROFILES["gemini"])


def test_a_server_without_a_system_role_gets_the_instructions_in_the_question():
    body = call_body(replace(REQUEST, images=()), replace(PROFILES["generic"], system_role="user"))
    assert body["messages"] == [{"role": "user", "content": "Be brief.\n\nHello"}]


CLOSED = {**SCHEMA, "required": ["n"], "additionalProperties": False}
NESTED = {**CLOSED, "properties": {"n": {"type": "array", "items": SCHEMA}}}


@pytest.mark.parametrize(("schema", "strict"), [(SCHEMA, False), (CLOSED, True), (NESTED, False), ({}, True)])
def test_openai_is_told_whether_a_schema_is_strict(schema: dict[str, Any], strict: bool):
    body = call_body(replace(REQUEST, response_schema=schema), PROFILES["openai"])
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": strict},
    }


def test_a_server_that_knows_no_schema_gets_it_in_words():
    body = call_body(replace(REQUEST, response_schema=SCHEMA), PROFILES["deepseek"])
    assert body["response_format"] == {"type": "json_object"}
    assert body["messages"][0]["content"].startswith("Be brief.\n\nAnswer with nothing but JSON")
    assert '"type": "integer"' in body["messages"][0]["content"]
    in_words = call_body(replace(REQUEST, response_schema=SCHEMA), replace(PROFILES["generic"], json_mode="prompt"))
    assert "response_format" not in in_words


def test_a_repair_shows_the_answer_and_what_is_wrong_with_it():
    body = call_body(replace(REQUEST, corrections=(Correction("{", "It is no JSON."),)), PROFILES["generic"])
    assert body["messages"][-2:] == [
        {"role": "assistant", "content": "{"},
        {"role": "user", "content": "It is no JSON."},
    ]


def chosen(profile: str, model: str = "m") -> Chosen:
    return Chosen(Provider(name="p", profile=profile, base_url="http://h/v1", models=("*",)), model)


def test_what_a_model_does_not_take_is_left_out_and_told():
    params = LlmParams(user_message="x", temperature=0.1, seed=1, stop=("a",))
    question = make_question(params, chosen("openai", "o3"), Prompt(None, "x"), ())
    assert [(warning.code, warning.where) for warning in question.warnings] == [
        ("llm_param_not_sent", "temperature"),
        ("llm_param_not_sent", "stop"),
    ]
    assert make_question(params, chosen("openai", "gpt-4o"), Prompt(None, "x"), ()).warnings == ()


def test_more_stop_texts_than_a_provider_takes_are_refused():
    with pytest.raises(InvalidInputError) as caught:
        make_question(LlmParams(stop=("a",) * 5), chosen("openai", "gpt-4o"), Prompt(None, "x"), ())
    assert caught.value.code == "too_many_stops"


@pytest.mark.parametrize(
    ("finish_reason", "codes"),
    [("stop", []), ("length", ["llm_output_truncated"]), (None, ["llm_finish_reason_missing"])],
)
def test_an_answer_that_may_not_be_whole_is_told(finish_reason: str | None, codes: list[str]):
    reply = ModelReply(text="Hi", usage=Usage(model="m"), finish_reason=finish_reason)
    assert [warning.code for warning in reply_warnings(reply)] == codes


def test_a_reply_can_be_stored_and_read_again():
    reply = ModelReply(text="Hi", usage=Usage(model="m", cost=0.5), finish_reason="stop", response_id="r")
    assert ModelReply.model_validate_json(reply.to_json()) == reply


def test_what_calls_used_is_added_up_and_what_is_unknown_stays_so():
    one, other = Usage(model="a", input_tokens=1, cost=0.5), Usage(model="b", input_tokens=2, output_tokens=3, cost=1)
    assert add_usage(one, other) == Usage(model="b", input_tokens=3, cost=1.5)
    assert add_usage(None, one) == add_usage(one, None) == one
    assert add_usage(None, None) is None


def test_every_failure_has_advice():
    assert all(advice_for(code) for code in ModelErrorCode)
