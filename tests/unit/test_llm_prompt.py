"""The prompt is put together from the params and the connected texts: placeholders, paragraphs, bounds."""

import pytest

from llm_worker.domain.model import ModelRequest
from llm_worker.domain.prompt import MAX_PROMPT_CHARACTERS, Prompt, Written, compose
from llm_worker.domain.template import fill
from shared.contracts.errors import InvalidInputError


def prompt(message: str, texts: list[tuple[str, str]], system: str = "", *, own: bool = True) -> Prompt:
    return compose(Written("system_prompt", system), Written("user_message", message, own=own), texts)


def test_texts_become_named_paragraphs_in_the_order_given():
    asked = prompt("Join these.", [("b", "second\n\nwith two parts"), ("a", "first")])
    assert asked.user_message == "Join these.\n\nb: second\n\nwith two parts\n\na: first"
    assert (asked.system_prompt, asked.warnings) == (None, ())


def test_an_empty_message_adds_no_paragraph():
    assert prompt(" \n", [("a", "first")]).user_message == "a: first"
    assert prompt("", []).user_message == ""


def test_a_placeholder_stands_for_the_text_of_that_name_which_is_not_appended_then():
    asked = prompt("Compare {{ Left half }} with {{right}}.", [("Left half", "red"), ("right", "blue"), ("note", "!")])
    assert asked.user_message == "Compare red with blue.\n\nnote: !"


def test_the_system_prompt_has_placeholders_too():
    asked = prompt("Go on.", [("tone", "kind")], system="Be {{ tone }}.")
    assert (asked.system_prompt, asked.user_message) == ("Be kind.", "Go on.")


def test_texts_of_one_name_are_filled_in_together():
    assert prompt("{{a}}", [("a", "1"), ("b", "2"), ("a", "3")]).user_message == "1\n\n3\n\nb: 2"


def test_what_is_filled_in_is_not_read_again():
    assert prompt("{{a}}", [("a", "{{b}} \\{{ $x {{a}}"), ("b", "no")]).user_message.startswith("{{b}} \\{{ $x {{a}}")


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        (r"\{{ a }} is {{ a }}", "{{ a }} is 1"),
        ("$a ${a} {a} }} {{", "$a ${a} {a} }} {{"),
        ('{{"a": 1}} {{ }} {{}} {{\n a }}', '{{"a": 1}} {{ }} {{}} {{\n a }}'),
        ("{{{{a}}}}", "{{1}}"),
        ("{{a}}{{ a}}", "11"),
    ],
)
def test_braces_that_are_no_placeholder_are_text(text: str, filled: str):
    assert fill(text, {"a": "1"}).text == filled


def test_an_unknown_name_in_the_nodes_own_text_is_an_error_that_lists_the_known_ones():
    with pytest.raises(InvalidInputError) as caught:
        prompt("{{ left }} {{ lefd }}", [("left", "x"), ("right", "y")])
    problem = caught.value.problems[0]
    assert (problem.code, problem.where) == ("unknown_template_name", "user_message")
    assert "'lefd'" in problem.message
    assert "left, right" in (problem.fix or "")


def test_both_texts_own_unknown_names_are_told_at_once():
    with pytest.raises(InvalidInputError) as caught:
        prompt("{{ a }}", [], system="{{ b }}")
    assert [problem.where for problem in caught.value.problems] == ["system_prompt", "user_message"]


def test_an_unknown_name_in_a_text_that_an_edge_brought_stays_and_is_warned_of():
    asked = prompt("What does {{x}} mean to {{ a }}?", [("a", "Jinja")], own=False)
    assert asked.user_message == "What does {{x}} mean to Jinja?"
    assert [warning.code for warning in asked.warnings] == ["unknown_template_name"]


def test_a_message_of_exactly_the_limit_is_accepted():
    longest = "x" * MAX_PROMPT_CHARACTERS
    assert prompt(longest, []).user_message == longest


@pytest.mark.parametrize("message", ["Join", "Join{{a}}"])
def test_a_message_above_the_limit_is_refused_with_both_numbers(message: str):
    with pytest.raises(InvalidInputError) as caught:
        prompt(message, [("a", "x" * MAX_PROMPT_CHARACTERS)])
    assert caught.value.code == "prompt_too_long"
    assert "32,00" in str(caught.value)
    assert "32,000" in str(caught.value)


def test_a_system_prompt_above_the_limit_is_refused_under_its_own_name():
    with pytest.raises(InvalidInputError) as caught:
        prompt("", [], system="x" * (MAX_PROMPT_CHARACTERS + 1))
    assert caught.value.problems[0].where == "system_prompt"


def test_a_request_with_a_plain_url_cannot_be_made():
    with pytest.raises(ValueError, match="data URIs only"):
        ModelRequest("m", None, "What is this?", ("https://example.org/a.png",), 10, None)
