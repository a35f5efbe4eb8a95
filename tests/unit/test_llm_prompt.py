"""The user message is put together from the parameter and the connected texts, and bounded."""

import pytest

from llm_worker.domain.model import ModelRequest
from llm_worker.domain.prompt import MAX_PROMPT_CHARACTERS, check_prompt_length, compose_user_message
from llm_worker.domain.provider import is_loopback, output_limit_field, printable_address
from shared.contracts.errors import InvalidInputError


def test_texts_become_named_paragraphs_in_the_order_given():
    message = compose_user_message("Join these.", [("b", "second\n\nwith two parts"), ("a", "first")])
    assert message == "Join these.\n\nb: second\n\nwith two parts\n\na: first"


def test_an_empty_message_adds_no_paragraph():
    assert compose_user_message(" \n", [("a", "first")]) == "a: first"
    assert compose_user_message("", []) == ""


def test_a_message_of_exactly_the_limit_is_accepted():
    longest = "x" * MAX_PROMPT_CHARACTERS
    assert compose_user_message(longest, []) == longest


def test_a_message_above_the_limit_is_refused_with_both_numbers():
    texts = [("a", "x" * MAX_PROMPT_CHARACTERS)]
    with pytest.raises(InvalidInputError) as caught:
        compose_user_message("Join", texts)
    assert caught.value.code == "prompt_too_long"
    assert "32,009" in str(caught.value)
    assert "32,000" in str(caught.value)


def test_another_prompt_is_refused_under_its_own_name():
    with pytest.raises(InvalidInputError) as caught:
        check_prompt_length("x" * (MAX_PROMPT_CHARACTERS + 1), where="system_prompt")
    assert caught.value.problems[0].where == "system_prompt"


def test_a_request_with_a_plain_url_cannot_be_made():
    with pytest.raises(ValueError, match="data URIs only"):
        ModelRequest("m", None, "What is this?", ("https://example.org/a.png",), 10, None)


@pytest.mark.parametrize(
    ("base_url", "loopback"),
    [
        ("http://127.0.0.1:80/v1", True),
        ("http://127.8.9.1/v1", True),
        ("http://[::1]:80/v1", True),
        ("http://localhost/v1", True),
        ("http://127.0.0.1.example.org/v1", False),
        ("https://api.openai.com/v1", False),
    ],
)
def test_only_addresses_of_this_machine_are_loopback(base_url: str, loopback: bool):
    assert is_loopback(base_url) is loopback


def test_openai_takes_the_newer_name_of_the_output_limit():
    assert output_limit_field("https://api.openai.com/v1") == "max_completion_tokens"
    assert output_limit_field("http://127.0.0.1:11434/v1") == "max_tokens"


def test_a_printed_address_holds_no_credentials():
    assert printable_address("https://user:secret@host.example:8080/v1?key=secret") == "https://host.example:8080/v1"
