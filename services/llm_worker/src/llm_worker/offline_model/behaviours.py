"""How the stand-in can be told to behave: normally, slowly, or like a provider in trouble."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MODEL = "offline"
MAX_DELAY_MS = 600_000
MAX_RETRY_AFTER = 3600
MAX_COST = 1_000_000


class _Behaviour(BaseModel):
    """What all behaviours share: how many calls in a row they apply to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    times: int = Field(default=1, ge=1, le=1_000_000)


class _Answering(_Behaviour):
    """What the behaviours share that end in an answer: the `usage.cost` that it reports, in US dollars, if any."""

    cost: float | None = Field(default=None, ge=0, le=MAX_COST)


class Answer(_Answering):
    """Answer at once; where it is streamed, with a pause of so many milliseconds after each piece."""

    kind: Literal["answer"] = "answer"
    pace_ms: int = Field(default=0, ge=0, le=MAX_DELAY_MS)


class Slow(_Answering):
    """Answer after a delay in milliseconds."""

    kind: Literal["slow"] = "slow"
    delay_ms: int = Field(ge=0, le=MAX_DELAY_MS)


class Fail(_Behaviour):
    """Answer with an error.

    `place` is where it is told: by the HTTP status, or by an answer of status 200, instead of it or in its middle, as
    OpenRouter does. `shape` is that of the body; Gemini's is an array. `code` is what the provider calls the error;
    `retry_after` in seconds becomes the header of that name.
    """

    kind: Literal["error"] = "error"
    status: int = Field(ge=400, le=599)
    retry_after: int | None = Field(default=None, ge=0, le=MAX_RETRY_AFTER)
    code: str | None = None
    message: str = "the stand-in was told to fail"
    place: Literal["status", "body", "middle"] = "status"
    shape: Literal["openai", "gemini"] = "openai"


class Garbage(_Behaviour):
    """Answer 200 with a body that is not JSON; in the middle of a stream, an event that is not."""

    kind: Literal["garbage"] = "garbage"
    place: Literal["body", "middle"] = "body"


class Drop(_Behaviour):
    """Close the connection in the middle of the answer."""

    kind: Literal["drop"] = "drop"


class Stall(_Behaviour):
    """Never answer, or fall silent in the middle of a stream."""

    kind: Literal["stall"] = "stall"
    place: Literal["start", "middle"] = "start"


class Hold(_Answering):
    """Answer when released through the control endpoint."""

    kind: Literal["hold"] = "hold"


class Refuse(_Answering):
    """Answer with a refusal in place of a text."""

    kind: Literal["refuse"] = "refuse"


class Unfinished(_Answering):
    """Answer without a finish reason."""

    kind: Literal["unfinished"] = "unfinished"


class Misfit(_Answering):
    """Answer with a text where JSON was asked for."""

    kind: Literal["misfit"] = "misfit"


Behaviour = Annotated[
    Answer | Slow | Fail | Garbage | Drop | Stall | Hold | Refuse | Unfinished | Misfit, Field(discriminator="kind")
]


def cost_of(behaviour: Behaviour) -> float | None:
    """Return what an answer is to be said to have cost, in US dollars; None if nothing is to be said."""
    return behaviour.cost if isinstance(behaviour, _Answering) else None
