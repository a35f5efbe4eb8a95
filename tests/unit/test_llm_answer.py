"""The offline stand-in's answers, token counts and wire form."""

import json
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from llm_worker.offline_model.answer import NOTICE, Completion, answer, count_tokens, refuse
from llm_worker.offline_model.chat import ChatRequest, decode_data_uri
from llm_worker.offline_model.completion import render_events, render_json
from llm_worker.offline_model.measure import measure
from shared.contracts.errors import InvalidInputError


def chat(text: str = "What is this?", **fields: Any):
    return ChatRequest.model_validate({"model": "offline", "messages": [{"role": "user", "content": text}], **fields})


def text_of(completion: Completion):
    assert completion.text is not None
    return completion.text


def test_a_picture_is_described_by_what_was_measured_and_the_question_is_quoted():
    picture = Image.new("RGB", (640, 480), "red")
    picture.paste("blue", (320, 0, 640, 480))
    text = text_of(answer(chat("What is on\nthis picture?"), [measure(picture)]))
    assert text.splitlines() == [
        (
            f"{NOTICE} Image 1: 640 x 480 pixels; landscape; dark (brightness 52 of 255); "
            "colours: red 50%, blue 50%; on average #800080; left half mostly red, right half mostly blue."
        ),
        'Asked: "What is on this picture?".',
    ]


def test_several_pictures_are_numbered_in_order():
    pictures = [measure(Image.new("RGB", (10, 20))), measure(Image.new("RGB", (30, 20)))]
    first, second, *_ = text_of(answer(chat(), pictures)).splitlines()
    assert "Image 1: 10 x 20" in first
    assert second.startswith("Image 2: 30 x 20")


def test_texts_are_summed_up_by_first_sentence_and_words():
    text = text_of(answer(chat("Join these.\n\na: One two. Three.\n\nb: Four"), []))
    assert text.splitlines() == [
        f"{NOTICE} 3 paragraphs, 8 words:",
        "- Join these. (2 words)",
        "- a: One two. (4 words)",
        "- b: Four (2 words)",
    ]


def test_joining_earlier_answers_keeps_what_was_measured():
    earlier = text_of(answer(chat(), [measure(Image.new("RGB", (64, 48), "red"))]))
    joined = text_of(answer(chat(f"Join these.\n\ncrop: {earlier}"), []))
    assert joined.count(NOTICE) == 1
    assert "- crop: Image 1: 64 x 48 pixels;" in joined
    assert "red 100%" in joined


def test_instructions_change_the_answer():
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello there."}]
    text = text_of(answer(chat(messages=messages), []))
    assert text.endswith('Instructions: "Be brief.".')


def test_nothing_asked_is_said_so():
    assert "Nothing was asked" in text_of(answer(chat("  "), []))


def test_a_long_question_is_shortened():
    text = text_of(answer(chat("word " * 1000), [measure(Image.new("RGB", (10, 10)))]))
    assert "…" in text
    assert len(text) < 500


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_the_answer_is_cut_at_the_output_limit(field: str):
    limit: dict[str, Any] = {field: 5}
    whole, cut = answer(chat(), []), answer(chat(**limit), [])
    assert text_of(cut) == text_of(whole)[:20]
    assert (whole.finish_reason, cut.finish_reason) == ("stop", "length")
    assert cut.completion_tokens == 5


def test_tokens_follow_from_text_and_picture_tiles():
    one_tile, four_tiles = measure(Image.new("RGB", (512, 512))), measure(Image.new("RGB", (513, 1024)))
    assert answer(chat("x" * 9), []).prompt_tokens == 4 + 3
    assert answer(chat(""), [one_tile]).prompt_tokens == 4 + 85 + 170
    assert answer(chat(""), [four_tiles]).prompt_tokens == 4 + 85 + 4 * 170
    assert [count_tokens(text) for text in ("", "a", "abcd", "abcde")] == [0, 1, 1, 2]


def test_equal_requests_get_equal_answers():
    assert answer(chat("Hello. You."), []) == answer(chat("Hello. You."), [])


def test_a_refusal_has_no_text():
    refused = refuse(chat(), [])
    assert refused.text is None
    assert refused.refusal


def test_the_json_form_is_a_chat_completion():
    completion = answer(chat(), [])
    body = json.loads(render_json(completion, call_id="chatcmpl-1", created=7, model="offline:slow=1"))
    assert body["object"] == "chat.completion"
    assert body["model"] == "offline:slow=1"
    assert body["choices"][0]["message"]["content"] == completion.text
    assert body["usage"]["total_tokens"] == completion.prompt_tokens + completion.completion_tokens
    assert "cost" not in body["usage"]


def test_a_cost_is_reported_with_the_usage():
    completion = replace(answer(chat(), []), cost=0.25)
    assert json.loads(render_json(completion, call_id="c", created=7, model="offline"))["usage"]["cost"] == 0.25


@pytest.mark.parametrize("include_usage", [True, False])
def test_the_events_add_up_to_the_text(include_usage: bool):
    completion = answer(chat(" Hello.  You \n\n there "), [])
    events = list(render_events(completion, call_id="c", created=7, model="offline", include_usage=include_usage))
    assert events[-1] == b"data: [DONE]\n\n"
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in events[:-1]]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    assert "".join(delta.get("content", "") for delta in deltas) == completion.text
    assert ("usage" in chunks[0]) is include_usage
    assert bool(chunks[-1].get("usage")) is include_usage


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("https://example.org/cat.png", "data URIs only"),
        ("file:///etc/passwd", "data URIs only"),
        ("data:text/plain;base64,AAAA", "data URIs only"),
        ("data:image/png,AAAA", "data URIs only"),
        ("data:image/png;base64", "data URIs only"),
        ("data:image/png;base64,A*A=", "not valid base64"),
    ],
)
def test_other_urls_than_image_data_uris_are_refused(url: str, what: str):
    with pytest.raises(InvalidInputError, match=what) as caught:
        decode_data_uri(url)
    assert caught.value.code == "invalid_image_url"


def test_a_data_uri_is_decoded():
    assert decode_data_uri("data:image/png;base64,AQID") == b"\x01\x02\x03"


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": []},
        {"model": ""},
        {"n": 2},
        {"max_tokens": 0},
        {"temperature": 3},
        {"response_format": {"type": "json_schema"}},
        {"messages": [{"role": "robot", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "video"}]}]},
        {"messages": [{"role": "user", "content": 7}]},
    ],
)
def test_requests_of_another_shape_are_refused(fields: dict[str, Any]):
    with pytest.raises(ValidationError):
        chat(**fields)
