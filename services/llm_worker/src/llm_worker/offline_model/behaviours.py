"""How the stand-in can be told to behave: normally, slowly, or like a provider in trouble."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.errors import InvalidInputError, invalid

MODEL = "offline"
_MAX_DELAY_MS = 600_000
_MAX_RETRY_AFTER = 3600
_MAX_COST = 1_000_000
_COST = re.compile(r"\d{1,7}(\.\d{1,9})?", re.ASCII)
_USAGE = (
    "offline, offline:cost=<US dollars>, offline:slow=<milliseconds>, offline:<status 400-599>, "
    "offline:<status>=<Retry-After in seconds>, offline:garbage, offline:drop, offline:stall, offline:hold, "
    "offline:refuse"
)


class _Behaviour(BaseModel):
    """What all behaviours share: how many calls in a row they apply to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    times: int = Field(default=1, ge=1, le=1_000_000)


class _Answering(_Behaviour):
    """What the behaviours share that end in an answer: the `usage.cost` that it reports, in US dollars, if any."""

    cost: float | None = Field(default=None, ge=0, le=_MAX_COST)


class Answer(_Answering):
    """Answer at once."""

    kind: Literal["answer"] = "answer"


class Slow(_Answering):
    """Answer after a delay in milliseconds."""

    kind: Literal["slow"] = "slow"
    delay_ms: int = Field(ge=0, le=_MAX_DELAY_MS)


class Fail(_Behaviour):
    """Answer with an HTTP error; `retry_after` in seconds becomes the header of that name."""

    kind: Literal["error"] = "error"
    status: int = Field(ge=400, le=599)
    retry_after: int | None = Field(default=None, ge=0, le=_MAX_RETRY_AFTER)


class Garbage(_Behaviour):
    """Answer 200 with a body that is not JSON."""

    kind: Literal["garbage"] = "garbage"


class Drop(_Behaviour):
    """Close the connection in the middle of the answer."""

    kind: Literal["drop"] = "drop"


class Stall(_Behaviour):
    """Never answer."""

    kind: Literal["stall"] = "stall"


class Hold(_Answering):
    """Answer when released through the control endpoint."""

    kind: Literal["hold"] = "hold"


class Refuse(_Answering):
    """Answer with a refusal in place of a text."""

    kind: Literal["refuse"] = "refuse"


Behaviour = Annotated[Answer | Slow | Fail | Garbage | Drop | Stall | Hold | Refuse, Field(discriminator="kind")]


def cost_of(behaviour: Behaviour) -> float | None:
    """Return what an answer is to be said to have cost, in US dollars; None if nothing is to be said."""
    return behaviour.cost if isinstance(behaviour, _Answering) else None


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
    match kind:
        case "cost" if _COST.fullmatch(value) and float(value) <= _MAX_COST:
            return Answer(cost=float(value))
        case "slow":
            return Slow(delay_ms=_number(value, word, lowest=0, highest=_MAX_DELAY_MS))
        case _ if kind.isdecimal():
            return _parse_error(kind, value if equals else None, word)
        case "garbage" | "drop" | "stall" | "hold" | "refuse" if not equals:
            simple = {"garbage": Garbage, "drop": Drop, "stall": Stall, "hold": Hold, "refuse": Refuse}
            return simple[kind]()
        case _:
            raise _unknown(word)


def _parse_error(status: str, retry_after: str | None, word: str) -> Fail:
    return Fail(
        status=_number(status, word, lowest=400, highest=599),
        retry_after=(None if retry_after is None else _number(retry_after, word, lowest=0, highest=_MAX_RETRY_AFTER)),
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
