"""From the name of a model to the behaviour that it asks for: `offline`, or `offline:<word>`."""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from llm_worker.offline_model.behaviours import (
    MAX_COST,
    MAX_DELAY_MS,
    MAX_RETRY_AFTER,
    MODEL,
    Answer,
    Behaviour,
    Drop,
    Fail,
    Garbage,
    Hold,
    Misfit,
    Refuse,
    Slow,
    Stall,
    Unfinished,
)
from shared.contracts.errors import InvalidInputError, invalid

_COST = re.compile(r"\d{1,7}(\.\d{1,9})?", re.ASCII)
_LOWEST_STATUS, _HIGHEST_STATUS = 400, 599
_USAGE = (
    "offline, offline:cost=<US dollars>, offline:slow=<milliseconds>, offline:pace=<milliseconds>, "
    "offline:<status 400-599>, offline:<status>=<Retry-After in seconds>, offline:inside=<status>, "
    "offline:midway=<status>, offline:gemini=<status>, offline:context, offline:quota, offline:garbage, "
    "offline:garble, offline:drop, offline:stall, offline:silence, offline:hold, offline:refuse, offline:unfinished, "
    "offline:misfit"
)
_WORDS: Mapping[str, Behaviour] = MappingProxyType(
    {
        "context": Fail(
            status=400, code="context_length_exceeded", message="This model's maximum context length is 8192 tokens."
        ),
        "quota": Fail(status=429, code="insufficient_quota", message="You exceeded your current quota."),
        "garbage": Garbage(),
        "garble": Garbage(place="middle"),
        "drop": Drop(),
        "stall": Stall(),
        "silence": Stall(place="middle"),
        "hold": Hold(),
        "refuse": Refuse(),
        "unfinished": Unfinished(),
        "misfit": Misfit(),
    }
)
_WITH_STATUS: Mapping[str, Callable[[int], Behaviour]] = MappingProxyType(
    {
        "inside": lambda status: Fail(status=status, place="body"),
        "midway": lambda status: Fail(status=status, place="middle"),
        "gemini": lambda status: Fail(status=status, shape="gemini"),
    }
)
_WITH_DELAY: Mapping[str, Callable[[int], Behaviour]] = MappingProxyType(
    {"slow": lambda delay: Slow(delay_ms=delay), "pace": lambda delay: Answer(pace_ms=delay)}
)


def parse_model_name(name: str) -> Behaviour:
    """Return the behaviour that a model name asks for.

    Raises InvalidInputError: `model_not_found` for another model than `offline`, `unknown_behaviour` for
    a word after the colon that is none, or whose number is missing or out of its range.
    """
    model, colon, word = name.partition(":")
    if model != MODEL:
        raise invalid(
            "model_not_found",
            f"the offline stand-in has no model {name[:80]!r}",
            where="model",
            fix=f"ask for {MODEL!r}, or set the base URL and key of a real provider",
        )
    return _parse_word(word) if colon else Answer()


def _parse_word(word: str) -> Behaviour:
    kind, equals, value = word.partition("=")
    if word in _WORDS:
        return _WORDS[word]
    if kind == "cost" and _COST.fullmatch(value) and float(value) <= MAX_COST:
        return Answer(cost=float(value))
    if make := _WITH_DELAY.get(kind):
        return make(_number(value, word, lowest=0, highest=MAX_DELAY_MS))
    if make := _WITH_STATUS.get(kind):
        return make(_number(value, word, lowest=_LOWEST_STATUS, highest=_HIGHEST_STATUS))
    if kind.isdecimal():
        return _parse_error(kind, value if equals else None, word)
    raise _unknown(word)


def _parse_error(status: str, retry_after: str | None, word: str) -> Fail:
    return Fail(
        status=_number(status, word, lowest=_LOWEST_STATUS, highest=_HIGHEST_STATUS),
        retry_after=(None if retry_after is None else _number(retry_after, word, lowest=0, highest=MAX_RETRY_AFTER)),
    )


def _number(text: str, word: str, *, lowest: int, highest: int) -> int:
    # The length bounds the work: int() refuses or labours over thousands of digits.
    if not (text.isdecimal() and len(text) <= len(str(highest)) and lowest <= int(text) <= highest):
        raise _unknown(word)
    return int(text)


def _unknown(word: str) -> InvalidInputError:
    return invalid(
        "unknown_behaviour",
        f"the offline stand-in does not know the behaviour {word[:80]!r}",
        where="model",
        fix=f"use one of: {_USAGE}",
    )
