"""From a request and what was measured in its pictures to the stand-in's answer; pure."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

from llm_worker.offline_model.chat import ChatRequest
from llm_worker.offline_model.fitting import Findings, fit
from llm_worker.offline_model.measure import Measurement

NOTICE = "[Weft's offline stand-in, not a real model]"
CHARACTERS_PER_TOKEN = 4
_TOKENS_PER_MESSAGE = 4
# What OpenAI documents for its vision models: a base, and as much again for each tile of 512 x 512.
_TOKENS_PER_IMAGE = 85
_TOKENS_PER_TILE = 170
_TILE_SIDE = 512
_QUOTE_CHARACTERS = 160
_SENTENCE_CHARACTERS = 400
_PARAGRAPH = re.compile(r"\n\s*\n")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n")


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer with its cost in tokens; `text` is None if and only if there is a refusal.

    `cost` is in US dollars; it and the finish reason are not reported where they are None.
    """

    text: str | None
    refusal: str | None
    finish_reason: Literal["stop", "length"] | None
    prompt_tokens: int
    completion_tokens: int
    cost: float | None = None


def answer(request: ChatRequest, pictures: Sequence[Measurement], *, fits: bool = True) -> Completion:
    """Describe the pictures, or else sum up the texts; cut at the stop texts and the cap on output tokens.

    Where a schema is asked for, and the answer is to fit, it is JSON made of that.
    """
    text = _text(request, pictures)
    if fits and request.schema_to_fit is not None:
        text = _json(request.schema_to_fit, text, pictures)
    text = _stopped(text, request.stop)
    limit = request.output_limit
    kept = text if limit is None else text[: limit * CHARACTERS_PER_TOKEN]
    return Completion(
        text=kept,
        refusal=None,
        finish_reason="stop" if kept == text else "length",
        prompt_tokens=_prompt_tokens(request, pictures),
        completion_tokens=count_tokens(kept),
    )


def _text(request: ChatRequest, pictures: Sequence[Measurement]) -> str:
    findings = _describe_all(pictures) if pictures else _sum_up(request.question)
    lines = [f"{NOTICE} {findings}"]
    if pictures and request.question.strip():
        lines.append(f"Asked: {_quote(request.question)}.")
    if request.instructions.strip():
        lines.append(f"Instructions: {_quote(request.instructions)}.")
    return "\n".join(lines)


def _json(schema: dict[str, Any], text: str, pictures: Sequence[Measurement]) -> str:
    number = pictures[0].brightness if pictures else len(text.split())
    return json.dumps(fit(schema, Findings(text, number)), ensure_ascii=False)


def _stopped(text: str, stops: Sequence[str]) -> str:
    """Return the text up to the first stop text, which is not part of it."""
    for stop in stops:
        text = text.partition(stop)[0] if stop else text
    return text


def refuse(request: ChatRequest, pictures: Sequence[Measurement]) -> Completion:
    """Decline to answer, as a model with a safety policy would."""
    refusal = f"{NOTICE} I was told to refuse this request."
    return Completion(
        text=None,
        refusal=refusal,
        finish_reason="stop",
        prompt_tokens=_prompt_tokens(request, pictures),
        completion_tokens=count_tokens(refusal),
    )


def count_tokens(text: str) -> int:
    """Return about how many tokens a text has: one for every four characters begun."""
    return ceil(len(text) / CHARACTERS_PER_TOKEN)


def _prompt_tokens(request: ChatRequest, pictures: Sequence[Measurement]) -> int:
    texts = sum(_TOKENS_PER_MESSAGE + count_tokens(message.text) for message in request.messages)
    return texts + sum(_image_tokens(picture) for picture in pictures)


def _image_tokens(picture: Measurement) -> int:
    tiles = ceil(picture.width / _TILE_SIDE) * ceil(picture.height / _TILE_SIDE)
    return _TOKENS_PER_IMAGE + _TOKENS_PER_TILE * tiles


def _describe_all(pictures: Sequence[Measurement]) -> str:
    return "\n".join(f"Image {number}: {_describe(seen)}." for number, seen in enumerate(pictures, start=1))


def _describe(seen: Measurement) -> str:
    colours = ", ".join(f"{colour.name} {colour.percent}%" for colour in seen.colours)
    facts = [
        f"{seen.width} x {seen.height} pixels",
        seen.orientation,
        f"{seen.brightness_word} (brightness {seen.brightness} of 255)",
        f"colours: {colours or 'many, none of them dominant'}",
        f"on average {seen.average}",
    ]
    return "; ".join([*facts, seen.contrast] if seen.contrast else facts)


def _sum_up(question: str) -> str:
    # The texts are often earlier answers of this server; its own notice is no news in a summary.
    text = question.replace(NOTICE, "")
    paragraphs = [part.strip() for part in _PARAGRAPH.split(text) if part.strip()]
    if not paragraphs:
        return "Nothing was asked and no picture was sent."
    words = _count(len(text.split()), "word")
    points = [f"- {_first_sentence(part)} ({_count(len(part.split()), 'word')})" for part in paragraphs]
    return "\n".join([f"{_count(len(paragraphs), 'paragraph')}, {words}:", *points])


def _first_sentence(paragraph: str) -> str:
    sentence = " ".join(_SENTENCE_END.split(paragraph, maxsplit=1)[0].split())
    return _shorten(sentence, _SENTENCE_CHARACTERS)


def _quote(text: str) -> str:
    return '"' + _shorten(" ".join(text.replace(NOTICE, "").split()), _QUOTE_CHARACTERS) + '"'


def _shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
