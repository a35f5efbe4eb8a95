"""What is asked of a language model, what it replies, and how a call can fail."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from llm_worker.domain.failures import ModelErrorCode as ModelErrorCode  # noqa: PLC0414 - whoever handles ModelError finds it here
from llm_worker.domain.provider import Provider
from shared.contracts.base import Contract
from shared.contracts.events import Usage


@dataclass(frozen=True, slots=True)
class Correction:
    """An answer that did not fit the response schema, and what the model was told of it."""

    answer: str
    complaint: str


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One call of a model.

    `model` is the name that the provider knows it by. `images` are data URIs, in the order in which the model sees
    them; a plain URL is refused, because the provider would fetch it. `max_output_tokens` always caps the reply; what
    is None or empty is not sent. `response_schema` is a JSON Schema; `corrections` are the earlier answers that did
    not fit it.
    """

    model: str
    system_prompt: str | None
    user_message: str
    images: tuple[str, ...]
    max_output_tokens: int
    temperature: float | None = None
    response_schema: Mapping[str, Any] | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    corrections: tuple[Correction, ...] = ()

    def __post_init__(self) -> None:
        if not all(image.startswith("data:") for image in self.images):
            raise ValueError("images are sent to a model as data URIs only")


class ModelReply(Contract):
    """A complete answer, as JSON all that is needed to use it again: `text` is never empty.

    `usage.model` is the one that the server says has answered (the one asked for where it says none). Token counts,
    the finish reason and the response's id are None where the server does not report them, the cost where nobody knows
    it.
    """

    text: str
    usage: Usage
    finish_reason: str | None = None
    response_id: str | None = None


class ModelError(Exception):
    """A call that gave no usable reply.

    `retryable` says whether the same call may succeed later; `retry_after` is the wait in seconds that the server
    asked for. `usage` is known only where the server answered, and charged, in vain. `ambiguous` says that the call
    may have been carried out, and charged, although no complete reply came.
    """

    def __init__(
        self,
        code: ModelErrorCode,
        message: str,
        *,
        retryable: bool,
        retry_after: float | None = None,
        usage: Usage | None = None,
        ambiguous: bool = False,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retryable = retryable
        self.retry_after = retry_after
        self.usage = usage
        self.ambiguous = ambiguous


@dataclass(frozen=True, slots=True)
class ModelCall:
    """A call and what it is for: `number` counts the calls of one attempt at a node, from 1; a repair is number 2."""

    run_id: UUID
    node_id: str
    attempt: int
    number: int
    workflow_id: UUID | None
    provider: Provider
    request: ModelRequest


Ask = Callable[[], Awaitable[ModelReply]]


class ModelCalls(Protocol):
    """What every call goes through, so that it is paid for once, and within the limits of its provider."""

    async def complete(self, call: ModelCall, ask: Ask) -> ModelReply:
        """Return the reply to a call, from `ask` or as it was given before; raise ModelError."""
        ...
